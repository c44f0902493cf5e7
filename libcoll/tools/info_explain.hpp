// The --explain of coll-info: how the library would run calls, in words and as a table.
#pragma once

#include <string>
#include <vector>

#include "libcoll/comm.hpp"

namespace libcoll::info {

struct Question {
  std::string collective;
  Count count = 0;
};
struct Questions {
  DType type = DType::f32;
  Op op = Op::sum;
  std::vector<Question> all;
};

// "allreduce:8,1M" and the like. Throws CLI::ValidationError.
Questions read_questions(const std::vector<std::string>& texts, const std::string& type, const std::string& op);
// Every name that they take, for usage texts.
std::string type_names();
std::string op_names();

// Whole paragraphs, one a question. Throws Error on a collective that does not exist or does not go with type and op.
std::string explain(const Comm&, const Questions&);
// Every collective at three sizes: the choice and who made it, the runner-up, predicted costs.
std::string explain_all(const Comm&, DType, Op);

}  // namespace libcoll::info
