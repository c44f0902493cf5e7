#include "libcoll/tools/info_explain.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <tuple>

#include "libcoll/core/call.hpp"

namespace libcoll::info {
namespace {

template <class T>
std::string names_of(int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += fmt::format("{}{}", i == 0 ? "" : " ", name_of(static_cast<T>(i)));
  return all;
}

template <class T>
T named(const char* option, const std::string& name, int count) {
  for (int i = 0; i < count; ++i)
    if (name == name_of(static_cast<T>(i))) return static_cast<T>(i);
  throw CLI::ValidationError(fmt::format("{} {}: one of: {}", option, name, names_of<T>(count)));
}

Count elements_of(const std::string& text, DType type) {
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  const std::string suffix(end, text.data() + text.size());
  const auto at = std::string("KMG").find(suffix.empty() ? 'x' : static_cast<char>(std::toupper(static_cast<unsigned char>(suffix[0]))));
  const int shift = suffix.empty() ? 0 : suffix.size() == 1 && at != std::string::npos ? 10 * (static_cast<int>(at) + 1) : -1;
  if (error != std::errc() || shift < 0 || bytes > (std::uint64_t{1} << 50) >> shift)
    throw CLI::ValidationError(fmt::format("--explain: \"{}\" is no size in bytes (like 8, 64K, 1M)", text));
  if (const std::uint64_t size = size_of(type); (bytes << shift) % size != 0)
    throw CLI::ValidationError(fmt::format("--explain: {} bytes are no whole number of {} ({} bytes each)", text, name_of(type), size));
  return static_cast<Count>((bytes << shift) / size_of(type));
}

constexpr std::uint64_t table_sizes[] = {8, 64 << 10, 4 << 20};

struct Row {
  std::string collective, size, choice, cost, second, second_cost;
};

// What Comm::explain says first of a choice: "ring (tuning file)".
std::string choice_in(const std::string& explanation) {
  const std::size_t start = explanation.find('\n') + 3;  // its second line, indented by two
  return explanation.substr(start, explanation.find(", predicted ", start) - start);
}

Row row_of(const Comm& comm, const std::string& collective, std::uint64_t bytes, DType type, Op op) {
  const bool is_sized = collective != "barrier";
  const Count count = is_sized ? static_cast<Count>(std::max<std::uint64_t>(bytes / size_of(type), 1)) : 0;
  const std::vector<Candidate> ways = comm.candidates(collective, count, type, op);
  Row row{.collective = collective, .size = is_sized ? std::to_string(count * static_cast<Count>(size_of(type))) : "", .choice = choice_in(comm.explain(collective, count, type, op)),
          .cost = "", .second = "-", .second_cost = ""};
  const Candidate* second = nullptr;
  for (const Candidate& w : ways) {
    if (w.chosen) row.cost = fmt::format("{:.2f}", w.predicted_us);
    else if (second == nullptr || w.predicted_us < second->predicted_us) second = &w;
  }
  if (second != nullptr) row.second = second->recipe.empty() ? "one native step" : second->recipe;
  if (second != nullptr) row.second_cost = fmt::format("{:.2f}", second->predicted_us);
  return row;
}

// Plans of some collectives hold for all counts.
void merge_if_same(std::vector<Row>& rows, std::size_t first) {
  const auto is_same = [&](const Row& r) { return std::tie(r.choice, r.cost, r.second, r.second_cost) ==
                                                  std::tie(rows[first].choice, rows[first].cost, rows[first].second, rows[first].second_cost); };
  if (rows.size() - first < 2 || !std::all_of(rows.begin() + static_cast<std::ptrdiff_t>(first), rows.end(), is_same)) return;
  rows.resize(first + 1);
  rows[first].size = "any";
}

}  // namespace

std::string type_names() { return names_of<DType>(dtype_count); }
std::string op_names() { return names_of<Op>(op_count); }

Questions read_questions(const std::vector<std::string>& texts, const std::string& type_name, const std::string& op_name) {
  // What C programmers call them.
  const std::string& t = type_name;
  const std::string type = t == "float" ? "f32" : t == "double" ? "f64" : t == "int" ? "i32" : t == "char" ? "i8" : t;
  Questions q{.type = named<DType>("--type", type, dtype_count), .op = named<Op>("--op", op_name, op_count), .all = {}};
  for (const std::string& text : texts) {
    const std::size_t colon = text.find(':');
    const std::string collective = text.substr(0, colon);
    if (colon == std::string::npos) {
      if (collective != "barrier") throw CLI::ValidationError(fmt::format("--explain {}: which sizes? For example {}:8,1M", text, text));
      q.all.push_back({collective});
      continue;
    }
    for (std::size_t at = colon + 1; at <= text.size();) {
      const std::size_t comma = std::min(text.find(',', at), text.size());
      q.all.push_back({collective, elements_of(text.substr(at, comma - at), q.type)});
      at = comma + 1;
    }
  }
  return q;
}

std::string explain(const Comm& comm, const Questions& questions) {
  std::string text;
  for (const Question& q : questions.all) text += comm.explain(q.collective, q.count, questions.type, questions.op);
  return text;
}

std::string explain_all(const Comm& comm, DType type, Op op) {
  std::vector<Row> rows{{"collective", "bytes", "choice (who made it)", "us", "runner-up", "us"}};
  for (int i = 0; i < detail::coll_count; ++i) {
    const std::string collective = name_of(static_cast<detail::Coll>(i));
    const std::size_t first = rows.size();
    for (const std::uint64_t bytes : table_sizes) {
      rows.push_back(row_of(comm, collective, bytes, type, op));
      if (rows.back().size.empty()) break;
    }
    merge_if_same(rows, first);
  }
  std::size_t widths[6] = {};
  const auto cells = [](const Row& r) { return std::array{&r.collective, &r.size, &r.choice, &r.cost, &r.second, &r.second_cost}; };
  for (const Row& r : rows)
    for (std::size_t i = 0; i < 6; ++i) widths[i] = std::max(widths[i], cells(r)[i]->size());
  std::string text = fmt::format("How {} rank{} would run blocks of {}, reductions by {}; predicted microseconds\n", comm.size(), comm.size() == 1 ? "" : "s",
                                 name_of(type), name_of(op));
  for (const Row& r : rows) {
    std::string line = fmt::format("{:<{}}  {:>{}}  {:<{}}  {:>{}}  {:<{}}  {:>{}}", r.collective, widths[0], r.size, widths[1], r.choice, widths[2], r.cost, widths[3],
                                   r.second, widths[4], r.second_cost, widths[5]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace libcoll::info
