// An XML document as a tree of elements, bounded in size, depth and number: what the importers read.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libcoll/core/result.hpp"

namespace libcoll::topo {

struct XmlElement {
  std::string name;
  std::vector<std::pair<std::string, std::string>> attributes;
  std::vector<XmlElement> children;
  std::string text;  // its own, without that of its children
  long line = 0;

  const std::string* find(std::string_view attribute) const;  // null if it has none of that name
  std::string get(std::string_view attribute) const;          // empty if it has none of that name
};

// The root element. Any text at all gives a tree or a failure that names the line. Documents that
// declare entities are refused.
detail::Result<XmlElement> parse_xml(std::string_view text);

// Thrown by importers at the element that is wrong, and turned into a Failure by them.
struct BadXml {
  std::string what;
  BadXml(const XmlElement& at, std::string_view why);
};

}  // namespace libcoll::topo
