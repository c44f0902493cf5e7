// Everything that is printed or written; used by rank 0 only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coll_bench/instructions.hpp"
#include "coll_bench/machine.hpp"
#include "coll_bench/measure.hpp"
#include "coll_bench/options.hpp"

namespace bench {

// Text on stdout: OSU's two columns, or both libraries side by side. Lines that are no data start with '#'.
void print_header(const Options&, const Machine&);
void print_section(const Options&, const Machine&, Coll, Memory);
void print_cell(const Options&, const Cell&);
// Geometric mean of the ratios and worst cell of every section; of comparisons only.
void print_summary(const Options&, const std::vector<Cell>&);
// A cell of --all-algorithms; what the library's choices lose.
void print_ways(const Cell&);
void print_regret(const std::vector<Cell>&);
// --nonblocking: OSU's columns.
void print_overlap_head(const Options&, const Machine&, Coll, Memory);
void print_overlap(const Cell&);
void print_footer(const Machine&, const std::optional<InstructionCount>&);
void print_instructions(const InstructionCount&);

// Throw std::runtime_error naming the file.
void write_json(const std::string& file, const Options&, const Machine&, const std::vector<Cell>&,
                const std::optional<InstructionCount>&);
void write_csv(const std::string& file, const std::vector<Cell>&);
void write_json(const std::string& file, const InstructionCount&);
void write_text(const std::string& file, const std::string& text);
// Runs benchmarks/plot.py; false, with a message, if that failed.
bool draw(const std::string& png, const std::string& json);

// Fails at once if the file could not be written at the end of a long run.
void require_writable(const std::string& file);

// A bar on stderr while cells are measured; silent if that is no terminal.
class Progress {
 public:
  explicit Progress(std::size_t cells);
  ~Progress();
  void at(const char* collective, std::uint64_t bytes);
  void clear() const;

 private:
  std::size_t cells_, done_ = 0;
  bool visible_;
};

struct SectionSummary {
  Coll coll = Coll::barrier;
  Memory memory = Memory::private_;
  int cells = 0;
  double geometric_mean = 0, worst = 0;
  std::uint64_t worst_bytes = 0;
};
std::vector<SectionSummary> summarise(const std::vector<Cell>&);

struct RegretSummary {
  Coll coll = Coll::barrier;
  Memory memory = Memory::private_;
  int cells = 0;
  double geometric_mean = 0, worst = 0;
  std::uint64_t worst_bytes = 0;
};
std::vector<RegretSummary> summarise_regret(const std::vector<Cell>&);

}  // namespace bench
