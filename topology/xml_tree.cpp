#include "topology/xml_tree.hpp"

#include <expat.h>
#include <fmt/format.h>

#include <memory>

namespace libcoll::topo {
namespace {

constexpr std::size_t max_xml_bytes = 32u << 20;
constexpr std::size_t max_depth = 64;
constexpr std::size_t max_elements = 200000;

struct ParserDeleter {
  void operator()(XML_Parser p) const noexcept { XML_ParserFree(p); }
};

// Receives expat's callbacks, which must not throw: a complaint stops the parser instead.
struct Receiver {
  XML_Parser parser;
  XmlElement document;  // holds the root
  std::vector<XmlElement*> open{&document};
  std::size_t elements = 0;
  std::string complaint;

  void stop(std::string why) {
    if (complaint.empty()) complaint = std::move(why);
    XML_StopParser(parser, XML_FALSE);
  }

  static void on_start(void* self, const XML_Char* name, const XML_Char** attributes) {
    auto& r = *static_cast<Receiver*>(self);
    if (!r.complaint.empty()) return;
    if (r.open.size() > max_depth) return r.stop("nested too deeply");
    if (++r.elements > max_elements) return r.stop("too many elements");
    XmlElement e;
    e.name = name;
    e.line = static_cast<long>(XML_GetCurrentLineNumber(r.parser));
    for (; *attributes != nullptr; attributes += 2) e.attributes.emplace_back(attributes[0], attributes[1]);
    // Pointers to open elements stay valid: only the innermost one's children grow.
    XmlElement& above = *r.open.back();
    above.children.push_back(std::move(e));
    r.open.push_back(&above.children.back());
  }
  static void on_end(void* self, const XML_Char*) {
    auto& r = *static_cast<Receiver*>(self);
    if (r.complaint.empty()) r.open.pop_back();
  }
  static void on_text(void* self, const XML_Char* text, int bytes) {
    auto& r = *static_cast<Receiver*>(self);
    if (r.complaint.empty()) r.open.back()->text.append(text, static_cast<std::size_t>(bytes));
  }
  static void on_entity(void* self, const XML_Char*, int, const XML_Char*, int, const XML_Char*,
                        const XML_Char*, const XML_Char*, const XML_Char*) {
    static_cast<Receiver*>(self)->stop("it declares entities");
  }
};

}  // namespace

const std::string* XmlElement::find(std::string_view attribute) const {
  for (const auto& [key, value] : attributes)
    if (key == attribute) return &value;
  return nullptr;
}

std::string XmlElement::get(std::string_view attribute) const {
  const std::string* value = find(attribute);
  return value != nullptr ? *value : std::string();
}

BadXml::BadXml(const XmlElement& at, std::string_view why)
    : what(fmt::format("line {}, <{}>: {}", at.line, std::string_view(at.name).substr(0, 40), why)) {}

detail::Result<XmlElement> parse_xml(std::string_view text) {
  const auto bad = [](std::string why) { return detail::failure(Errc::invalid_argument, std::move(why)); };
  if (text.size() > max_xml_bytes) return bad("larger than 32 MiB");
  const std::unique_ptr<XML_ParserStruct, ParserDeleter> parser(XML_ParserCreate(nullptr));
  if (!parser) return detail::failure(Errc::system, "expat could not start");
  Receiver receiver{.parser = parser.get(), .document = {}, .complaint = {}};
  XML_SetUserData(parser.get(), &receiver);
  XML_SetElementHandler(parser.get(), Receiver::on_start, Receiver::on_end);
  XML_SetCharacterDataHandler(parser.get(), Receiver::on_text);
  XML_SetEntityDeclHandler(parser.get(), Receiver::on_entity);
  const auto status = XML_Parse(parser.get(), text.data(), static_cast<int>(text.size()), XML_TRUE);
  const auto line = XML_GetCurrentLineNumber(parser.get());
  if (!receiver.complaint.empty()) return bad(fmt::format("line {}: {}", line, receiver.complaint));
  if (status != XML_STATUS_OK)
    return bad(fmt::format("line {}: {}", line, XML_ErrorString(XML_GetErrorCode(parser.get()))));
  return std::move(receiver.document.children.front());
}

}  // namespace libcoll::topo
