// A small scanner for the subset of XML that hwloc writes: elements and attributes, no text, no
// entities but the predefined ones, no internal DTD. hwloc trusts what it reads (it keeps whatever
// tree the file states), so structure is checked here and hwloc sees a re-written document.
#include "topology/xml_guard.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "topology/cpuset.hpp"

namespace libcoll::topo {
namespace {

constexpr std::size_t max_xml_bytes = 32u << 20;
constexpr std::size_t max_depth = 64;
constexpr std::size_t max_elements = 200000;
constexpr std::size_t max_attributes = 40;
constexpr std::size_t max_set_words = 4u << 20;  // all CPU sets together, 64 CPUs each
constexpr int max_numa_nodes = 4096;             // the reader compares them pairwise

// Thrown inside this file only; guard_hwloc_xml turns it into a Failure.
struct Bad {
  std::string what;
};

struct Attribute {
  std::string_view name, value;
};

struct Tag {
  std::string_view name;
  std::vector<Attribute> attributes;
  bool closes = false;  // </name>
  bool empty = false;   // <name/>

  const std::string_view* find(std::string_view wanted) const {
    for (const Attribute& a : attributes)
      if (a.name == wanted) return &a.value;
    return nullptr;
  }
};

constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
constexpr bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  // The next tag into `tag`; false at the end of the document. Text between tags is skipped.
  bool next(Tag& tag) {
    for (;;) {
      const std::size_t open = rest_.find('<');
      if (open == std::string_view::npos) return false;
      rest_.remove_prefix(open + 1);
      if (rest_.starts_with("!--"))
        skip_past("-->");
      else if (rest_.starts_with('?'))
        skip_past("?>");
      else if (rest_.starts_with("!DOCTYPE"))
        skip_doctype();
      else
        break;
    }
    read_tag(tag);
    return true;
  }

 private:
  void skip_past(std::string_view end) {
    const std::size_t at = rest_.find(end);
    if (at == std::string_view::npos) throw Bad{"truncated"};
    rest_.remove_prefix(at + end.size());
  }
  void skip_doctype() {
    const std::size_t end = rest_.find('>');
    if (end == std::string_view::npos) throw Bad{"truncated"};
    if (rest_.substr(0, end).find('[') != std::string_view::npos) throw Bad{"an internal DTD"};
    rest_.remove_prefix(end + 1);
  }
  void skip_space() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view take_name() {
    std::size_t n = 0;
    while (n < rest_.size() && is_name(rest_[n])) ++n;
    if (n == 0 || n > 64) throw Bad{"malformed tag"};
    const std::string_view name = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return name;
  }
  bool take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  void read_tag(Tag& tag) {
    tag = Tag{};
    tag.closes = take("/");
    tag.name = take_name();
    for (skip_space(); !take(">"); skip_space()) {
      if (rest_.empty()) throw Bad{"truncated"};
      if (take("/>")) {
        tag.empty = true;
        break;
      }
      if (tag.closes || tag.attributes.size() == max_attributes) throw Bad{"malformed tag"};
      read_attribute(tag);
    }
    if (tag.closes && tag.empty) throw Bad{"malformed tag"};
  }
  void read_attribute(Tag& tag) {
    Attribute a;
    a.name = take_name();
    if (!take("=\"")) throw Bad{"malformed attribute"};
    const std::size_t end = rest_.find('"');
    if (end == std::string_view::npos) throw Bad{"truncated"};
    a.value = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    if (a.value.find('<') != std::string_view::npos) throw Bad{"malformed attribute"};
    if (tag.find(a.name)) throw Bad{fmt::format("attribute '{}' twice", a.name)};
    tag.attributes.push_back(a);
  }

  std::string_view rest_;
};

constexpr std::array kept_types{"Machine",  "Package", "Die",     "Group",   "NUMANode", "L1Cache",
                                "L2Cache",  "L3Cache", "L4Cache", "L5Cache", "L1iCache", "L2iCache",
                                "L3iCache", "Core",    "PU",      "MemCache"};
constexpr std::array dropped_types{"Bridge", "PCIDev", "OSDev", "Misc"};
constexpr std::array numbers{"os_index",   "gp_index",     "cache_size", "depth",   "cache_linesize",
                             "cache_type", "local_memory", "kind",       "subkind", "dont_merge"};
constexpr std::array sets{"cpuset",  "complete_cpuset",  "allowed_cpuset",
                          "nodeset", "complete_nodeset", "allowed_nodeset"};

bool is_in(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::uint64_t parse_number(std::string_view text, std::string_view what) {
  std::uint64_t v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size() || v > (std::uint64_t{1} << 60))
    throw Bad{fmt::format("{} is not a number in range: '{}'", what, text.substr(0, 40))};
  return v;
}

CpuSet parse_set(std::string_view text, std::string_view what) {
  auto set = CpuSet::from_mask(text);
  if (!set) throw Bad{fmt::format("{}: {}", what, set.error().text)};
  return std::move(*set);
}

class Guard {
 public:
  std::string run(std::string_view text) {
    Scanner scanner(text);
    Tag tag;
    while (scanner.next(tag)) {
      if (++elements_ > max_elements) throw Bad{"too many elements"};
      if (tag.closes)
        close(tag.name);
      else
        open(tag);
    }
    if (!open_.empty()) throw Bad{"truncated"};
    if (!seen_machine_) throw Bad{"no machine in it"};
    // hwloc drops what is not allowed, and says on stderr if nothing is left.
    if (!pus_.intersects(allowed_pus_.value_or(pus_)) ||
        !numa_nodes_.intersects(allowed_nodes_.value_or(numa_nodes_)))
      throw Bad{"no PU or no NUMA node in it"};
    return std::move(out_);
  }

 private:
  struct Open {
    std::string_view name;
    bool kept;
    bool is_object;
    CpuSet cpus, nodes;
  };

  void open(const Tag& tag) {
    if (open_.size() >= max_depth) throw Bad{"nested too deeply"};
    Open o{tag.name, open_.empty() || open_.back().kept, false, {}, {}};
    if (open_.empty())
      check_root(tag);
    else if (tag.name == "object")
      check_object(tag, o);
    else if (std::exchange(o.kept, false) && tag.name == "info")
      write_info(tag);
    if (o.kept) write(tag);
    if (!tag.empty) open_.push_back(std::move(o));
  }

  void close(std::string_view name) {
    if (open_.empty() || open_.back().name != name) throw Bad{fmt::format("</{}> closes nothing", name)};
    if (open_.back().kept) out_ += fmt::format("</{}>\n", name);
    open_.pop_back();
  }

  void check_root(const Tag& tag) {
    const std::string_view* version = tag.find("version");
    if (tag.name != "topology" || std::exchange(seen_root_, true)) throw Bad{"not one <topology>"};
    if (!version || !version->starts_with("2."))
      throw Bad{"not format 2 of hwloc (convert older files with lstopo, hwloc 2)"};
    out_ = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n";
  }

  void check_object(const Tag& tag, Open& o) {
    const std::string_view* type = tag.find("type");
    if (!type) throw Bad{"an object without type"};
    o.is_object = true;
    if (is_in(dropped_types, *type)) o.kept = false;
    if (!o.kept) return;
    if (!is_in(kept_types, *type)) throw Bad{fmt::format("unknown type of object '{}'", *type)};
    const bool is_machine = *type == "Machine";
    if (is_machine != (open_.size() == 1) || (is_machine && std::exchange(seen_machine_, true)))
      throw Bad{"the machine must be the one outermost object"};
    if (!is_machine && !open_.back().is_object) throw Bad{"an object outside the machine"};
    check_attributes(tag, o);
    check_sets(tag, o, *type, is_machine);
  }

  void check_attributes(const Tag& tag, Open& o) {
    CpuSet complete;
    for (const Attribute& a : tag.attributes) {
      if (a.name == "cache_associativity") {
        if (a.value != "-1") parse_number(a.value, a.name);
      } else if (is_in(numbers, a.name)) {
        const std::uint64_t v = parse_number(a.value, a.name);
        if (a.name == "gp_index" && !gp_indices_.insert(v).second) throw Bad{"the same gp_index twice"};
        if (a.name == "os_index" && v > (1u << 30)) throw Bad{"os_index out of range"};
        if (a.name == "depth" && v > 8) throw Bad{"cache depth out of range"};
      } else if (is_in(sets, a.name)) {
        CpuSet s = parse_set(a.value, a.name);
        if ((set_words_ += s.words().size()) > max_set_words) throw Bad{"too many CPUs in too many objects"};
        if (a.name == "cpuset")
          o.cpus = std::move(s);
        else if (a.name == "nodeset")
          o.nodes = std::move(s);
        else if (a.name == "complete_cpuset")
          complete = std::move(s);
        else if (a.name == "allowed_cpuset" && open_.size() == 1)
          allowed_pus_ = std::move(s);
        else if (a.name == "allowed_nodeset" && open_.size() == 1)
          allowed_nodes_ = std::move(s);
      }
    }
    if (!complete.includes(o.cpus)) throw Bad{"complete_cpuset lacks CPUs of cpuset"};
  }

  void check_sets(const Tag& tag, const Open& o, std::string_view type, bool is_machine) {
    for (const char* needed : {"cpuset", "complete_cpuset", "nodeset", "complete_nodeset"})
      if (!tag.find(needed)) throw Bad{fmt::format("a {} without {}", type, needed)};
    if (!is_machine && !open_.back().cpus.includes(o.cpus))
      throw Bad{fmt::format("CPUs of a {} are not among its parent's", type)};
    if (!is_machine && !open_.back().nodes.includes(o.nodes))
      throw Bad{fmt::format("nodes of a {} are not among its parent's", type)};
    if (o.cpus.empty() && type != "NUMANode" && type != "MemCache")
      throw Bad{fmt::format("a {} without CPUs", type)};
    const std::string_view* os_index = tag.find("os_index");
    if (type == "PU") claim(os_index, o.cpus, pus_, type);
    if (type == "NUMANode") claim(os_index, o.nodes, numa_nodes_, type);
    if (numa_nodes_.count() > max_numa_nodes) throw Bad{"too many NUMA nodes"};
  }

  // PUs and NUMA nodes own the bit of their os_index, and nobody else does.
  void claim(const std::string_view* os_index, const CpuSet& own, CpuSet& taken, std::string_view type) {
    const int index = os_index ? static_cast<int>(parse_number(*os_index, "os_index")) : -1;
    if (own.count() != 1 || own.first() != index || taken.contains(index))
      throw Bad{fmt::format("a {} must have one bit of its own, that of its os_index", type)};
    taken.add(index);
  }

  void write(const Tag& tag) {
    out_ += '<';
    out_ += tag.name;
    for (const Attribute& a : tag.attributes) {
      const bool known = open_.empty() ? a.name == "version"
                                       : a.name == "type" || a.name == "name" || a.name == "subtype" ||
                                             a.name == "cache_associativity" || is_in(numbers, a.name) ||
                                             is_in(sets, a.name);
      if (known) out_ += fmt::format(" {}=\"{}\"", a.name, clean(a.value));
    }
    out_ += tag.empty ? "/>\n" : ">\n";
  }

  // Alone: hwloc gives up (and leaks) on an info that holds or lacks anything.
  void write_info(const Tag& tag) {
    const std::string_view *name = tag.find("name"), *value = tag.find("value");
    if (name && value && open_.back().is_object)
      out_ += fmt::format("<info name=\"{}\" value=\"{}\"/>\n", clean(*name), clean(*value));
  }

  // Values are for people from here on: entities other than the predefined and bytes that no parser
  // agrees on are not worth passing.
  static std::string clean(std::string_view value) {
    std::string s;
    for (const char c : value.substr(0, 1u << 20)) {
      const auto u = static_cast<unsigned char>(c);
      if (c == '&' || c == '>' || u < 0x20 || u >= 0x7f)
        s += '?';
      else
        s += c;
    }
    return s;
  }

  std::string out_;
  std::vector<Open> open_;
  std::size_t elements_ = 0, set_words_ = 0;
  bool seen_root_ = false, seen_machine_ = false;
  std::unordered_set<std::uint64_t> gp_indices_;
  CpuSet pus_, numa_nodes_;
  std::optional<CpuSet> allowed_pus_, allowed_nodes_;  // of the machine
};

}  // namespace

detail::Result<std::string> guard_hwloc_xml(std::string_view text) {
  const auto bad = [](const std::string& why) {
    return detail::failure(Errc::invalid_argument, "hwloc XML: " + why);
  };
  if (text.size() > max_xml_bytes) return bad("larger than 32 MiB");
  if (text.find('\0') != std::string_view::npos) return bad("not text");
  try {
    return Guard{}.run(text);
  } catch (const Bad& e) {
    return bad(e.what);
  }
}

}  // namespace libcoll::topo
