#include "topology/files.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace libcoll::topo {
namespace {

struct Closer {
  void operator()(std::FILE* f) const noexcept { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, Closer>;

auto refused(const std::string& path) {
  return detail::failure(Errc::system, fmt::format("{}: {}", path, std::strerror(errno)));
}

}  // namespace

detail::Result<std::string> read_file(const std::string& path, std::size_t most_bytes) {
  const File f(std::fopen(path.c_str(), "re"));
  if (!f) return refused(path);
  // In pieces until the end: files of /proc and /sys and pipes have no size to ask for.
  std::string text;
  char piece[16384];
  for (;;) {
    const std::size_t n = std::fread(piece, 1, sizeof piece, f.get());
    text.append(piece, n);
    if (text.size() > most_bytes)
      return detail::failure(Errc::invalid_argument,
                             fmt::format("{}: larger than {} bytes", path, most_bytes));
    if (n == sizeof piece) continue;
    if (std::ferror(f.get())) return refused(path);
    return text;
  }
}

detail::Result<void> write_file(const std::string& path, std::string_view text) {
  File f(std::fopen(path.c_str(), "we"));
  if (!f) return refused(path);
  const bool written = std::fwrite(text.data(), 1, text.size(), f.get()) == text.size();
  // A full disk may show at close only.
  if (std::fclose(f.release()) != 0 || !written) return refused(path);
  return {};
}

FileReader system_files() {
  return [](const std::string& path) -> std::optional<std::string> {
    auto text = read_file(path, 16u << 20);
    if (!text) return std::nullopt;
    return std::move(*text);
  };
}

}  // namespace libcoll::topo
