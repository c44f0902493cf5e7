#include "topology/text_tree.hpp"

#include <fmt/format.h>

#include <array>

namespace libcoll::topo {
namespace {

std::string printable(const std::string& s) {
  std::string out;
  for (const char c : s) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

void draw_children(const TextTree& t, const std::string& indent, std::string& out) {
  for (std::size_t i = 0; i < t.children.size(); ++i) {
    const bool is_last = i + 1 == t.children.size();
    out += indent + (is_last ? "└─ " : "├─ ") + printable(t.children[i].text) + "\n";
    draw_children(t.children[i], indent + (is_last ? "   " : "│  "), out);
  }
}

}  // namespace

void join_chains(TextTree& t) {
  for (TextTree& c : t.children) join_chains(c);
  for (TextTree& c : t.children) {
    if (c.children.size() != 1) continue;
    TextTree only = std::move(c.children.front());
    c = {c.text + " / " + only.text, std::move(only.children)};
  }
}

std::string draw(const TextTree& t) {
  std::string out = printable(t.text) + "\n";
  draw_children(t, "", out);
  return out;
}

std::string format_bytes(unsigned long long bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  const bool whole = value == static_cast<double>(static_cast<long long>(value));
  return whole ? fmt::format("{:.0f} {}", value, units[unit]) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string plural(long long count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

}  // namespace libcoll::topo
