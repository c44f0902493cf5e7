// Every collective of the backend as a function of where its tensors are.
#pragma once

#include "group.hpp"

namespace libcoll::test {

struct Form {
  at::Device device;
  at::ScalarType type;
  bool asynchronous, strided;
};

struct Case {
  const char* name;
  // The collective's results, on `form.device`.
  std::function<Tensors(Rank&, const Form&)> run;
  bool floats_only = false;
};
std::vector<Case> every_collective();

}  // namespace libcoll::test
