// A tree of lines, drawn with box characters.
#pragma once

#include <string>
#include <vector>

namespace libcoll::topo {

struct TextTree {
  std::string text;
  std::vector<TextTree> children;
};

// A node with one child and the child itself become one line, "package 0 / NUMA 0".
void join_chains(TextTree&);
// The root's text is the first line, children follow indented. Control characters become '?', as
// names come from files and from other machines.
std::string draw(const TextTree&);

// "20 MiB", "1.5 MiB", "62.6 GiB".
std::string format_bytes(unsigned long long);
// "1 core", "2 cores".
std::string plural(long long count, const char* one, const char* many);

}  // namespace libcoll::topo
