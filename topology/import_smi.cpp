// The matrix of `nvidia-smi topo -m`: a header with the devices, a row for each, cells that say how two
// of them are joined, then affinities and a legend. Newer versions call NICs NIC0, NIC1 and name them in
// a legend of their own.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "topology/devices.hpp"
#include "topology/import.hpp"

namespace libcoll::topo {
namespace {

constexpr std::size_t max_text_bytes = 4u << 20;
constexpr std::size_t max_columns = 256;

struct Bad {
  std::string what;
};

using Words = std::vector<std::string>;

// The header is underlined for terminals, by escape sequences that end in a letter.
std::string without_escapes(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\x1b') {
      out += text[i];
      continue;
    }
    while (i + 1 < text.size() && text[i + 1] != '\n' && text[i] != 'm') ++i;
  }
  return out;
}

void join_words(std::string& line, std::string_view phrase) {
  const std::size_t at = line.find(phrase);
  if (at == std::string::npos) return;
  for (std::size_t i = at; i < at + phrase.size(); ++i)
    if (line[i] == ' ') line[i] = '_';
}

Words split(const std::string& line) {
  Words words;
  std::size_t at = 0;
  while ((at = line.find_first_not_of(" \t\r", at)) != std::string::npos) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

std::optional<int> number_after(std::string_view text, std::string_view prefix, int most) {
  int v = 0;
  if (!text.starts_with(prefix)) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data() + prefix.size(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size() || v < 0 || v > most) return std::nullopt;
  return v;
}

struct Cell {
  int links = 0;
  PathClass path = PathClass::unknown;
  bool is_self = false;
  friend bool operator==(const Cell&, const Cell&) = default;
};

std::optional<Cell> to_cell(const std::string& word) {
  if (word == "X") return Cell{.links = 0, .path = PathClass::unknown, .is_self = true};
  if (const auto links = number_after(word, "NV", max_links); links && *links > 0)
    return Cell{.links = *links, .path = PathClass::unknown, .is_self = false};
  for (int i = 0; i < path_class_count; ++i)
    if (const auto path = static_cast<PathClass>(i); path != PathClass::unknown && word == name_of(path))
      return Cell{.links = 0, .path = path, .is_self = false};
  if (word == "SOC") return Cell{.links = 0, .path = PathClass::sys, .is_self = false};  // before 2018
  return std::nullopt;
}

struct Row {
  std::vector<Cell> cells;
  std::string cpus, numa;
};

class Importer {
 public:
  Machine run(std::string_view text) {
    std::size_t line_number = 0;
    const std::string plain = without_escapes(text);
    for (std::size_t at = 0; at < plain.size(); ++line_number) {
      const std::size_t end = std::min(plain.find('\n', at), plain.size());
      read_line(plain.substr(at, end - at), line_number + 1);
      at = end + 1;
    }
    if (columns_.empty()) throw Bad{"no header that begins with GPU0, as nvidia-smi topo -m prints it"};
    for (const std::string& name : columns_)
      if (!rows_.contains(name)) throw Bad{fmt::format("no row for {}", name)};
    check_symmetry();
    return build();
  }

 private:
  void read_line(std::string line, std::size_t number) {
    for (const char* phrase : {"CPU Affinity", "NUMA Affinity", "GPU NUMA ID"}) join_words(line, phrase);
    const Words words = split(line);
    if (words.empty()) return;
    if (columns_.empty()) {
      if (words[0].starts_with("GPU")) read_header(words, number);
    } else if (const auto nic = number_after(words[0].substr(0, words[0].find(':')), "NIC", 4095);
               nic && words[0].ends_with(':') && words.size() == 2) {
      nic_names_[fmt::format("NIC{}", *nic)] = printable(words[1]);
    } else if (is_column(words[0])) {
      read_row(words, number);
    }
  }

  bool is_column(const std::string& name) const {
    return std::find(columns_.begin(), columns_.end(), name) != columns_.end();
  }

  void read_header(const Words& words, std::size_t number) {
    for (const std::string& w : words) {
      if (w.find('_') != std::string::npos && w.find("ffinity") != std::string::npos) {
        extras_.push_back(w);
      } else if (w == "GPU_NUMA_ID") {
        extras_.push_back(w);
      } else {
        if (is_column(w)) throw Bad{fmt::format("line {}: {} twice", number, w.substr(0, 40))};
        if (columns_.size() == max_columns) throw Bad{fmt::format("line {}: too many columns", number)};
        columns_.push_back(w);
      }
    }
  }

  void read_row(const Words& words, std::size_t number) {
    const auto bad = [&](const std::string& why) {
      return Bad{fmt::format("line {}, row {}: {}", number, words[0], why)};
    };
    if (rows_.contains(words[0])) throw bad("twice");
    if (words.size() < columns_.size() + 1)
      throw bad(fmt::format("{} cells, the header has {}", words.size() - 1, columns_.size()));
    Row row;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const auto cell = to_cell(words[i + 1]);
      if (!cell) throw bad(fmt::format("\"{}\" below {}", words[i + 1].substr(0, 40), columns_[i]));
      if (cell->is_self != (columns_[i] == words[0]))
        throw bad(fmt::format("X in the wrong place, below {}", columns_[i]));
      row.cells.push_back(*cell);
    }
    for (std::size_t i = 0; i < extras_.size() && columns_.size() + 1 + i < words.size(); ++i) {
      const std::string& word = words[columns_.size() + 1 + i];
      if (extras_[i] == "CPU_Affinity") row.cpus = word;
      if (extras_[i] == "NUMA_Affinity") row.numa = word;
    }
    rows_[words[0]] = std::move(row);
  }

  const Cell& cell(std::size_t row, std::size_t column) { return rows_.at(columns_[row]).cells[column]; }

  void check_symmetry() {
    for (std::size_t i = 0; i < columns_.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (cell(i, j) != cell(j, i))
          throw Bad{fmt::format("{} and {} are joined one way in one row, another way in the other",
                                columns_[j], columns_[i])};
  }

  // GPUs with one affinity share a NUMA node.
  int numa_of(Machine& m, const Row& row, const std::string& name) {
    if (row.cpus.empty() && row.numa.empty()) return 0;
    const auto [it, is_new] =
        numa_nodes_.try_emplace(row.cpus + "/" + row.numa, static_cast<int>(m.nodes.size()));
    if (!is_new) return it->second;
    Node n;
    n.kind = NodeKind::numa;
    n.parent = 0;
    n.os_index = number_after(row.numa, "", 1 << 20).value_or(-1);
    if (!row.cpus.empty() && row.cpus != "N/A") {
      auto cpus = CpuSet::from_list(row.cpus);
      if (!cpus) throw Bad{fmt::format("row {}: CPU affinity: {}", name, cpus.error().text)};
      n.cpus = std::move(*cpus);
    }
    n.key = n.cpus.first();
    m.nodes[0].cpus |= n.cpus;
    m.nodes.push_back(std::move(n));
    return it->second;
  }

  Machine build() {
    Machine m;
    m.nodes.emplace_back();
    std::vector<Node> devices;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string& name = columns_[i];
      Node d;
      const auto gpu = number_after(name, "GPU", 4095);
      d.kind = gpu ? NodeKind::gpu : NodeKind::nic;
      d.os_index = gpu.value_or(-1);
      d.parent = gpu ? numa_of(m, rows_.at(name), name) : 0;
      const auto full_name = nic_names_.find(name);
      if (!gpu) d.name = full_name != nic_names_.end() ? full_name->second : printable(name);
      devices.push_back(std::move(d));
    }
    const int first = static_cast<int>(m.nodes.size());
    for (Node& d : devices) m.nodes.push_back(std::move(d));
    for (std::size_t i = 0; i < columns_.size(); ++i)
      for (std::size_t j = i + 1; j < columns_.size(); ++j) {
        const auto kind_of = [&](std::size_t c) { return m.nodes[static_cast<std::size_t>(first) + c].kind; };
        const Cell& c = cell(i, j);
        const bool both_nics = kind_of(i) == NodeKind::nic && kind_of(j) == NodeKind::nic;
        if (c.links > 0 && (kind_of(i) != NodeKind::gpu || kind_of(j) != NodeKind::gpu))
          throw Bad{fmt::format("NVLinks between {} and {}", columns_[i], columns_[j])};
        if (both_nics) continue;
        m.edges.push_back({.kind = c.links > 0 ? EdgeKind::nvlink : EdgeKind::pcie,
                           .a = first + static_cast<int>(i),
                           .b = first + static_cast<int>(j),
                           .links = c.links,
                           .mb_per_s = 0,
                           .path = c.path});
      }
    m.knows_nvlinks = true;
    m.notes.push_back("nvidia-smi's matrix: it shows neither cores, link speeds nor ports of one NIC");
    return m;
  }

  Words columns_, extras_;
  std::map<std::string, Row> rows_;
  std::map<std::string, std::string> nic_names_;
  std::map<std::string, int> numa_nodes_;
};

}  // namespace

detail::Result<Machine> import_smi_topology(std::string_view text) {
  const auto bad = [](const std::string& why) {
    return detail::failure(Errc::invalid_argument, "nvidia-smi topo -m: " + why);
  };
  if (text.size() > max_text_bytes) return bad("larger than 4 MiB");
  try {
    Machine m = Importer{}.run(text);
    if (auto ok = validate(m); !ok) return bad(ok.error().text);
    return m;
  } catch (const Bad& e) {
    return bad(e.what);
  }
}

}  // namespace libcoll::topo
