// Which launcher process started us, for launchers that leave no job id in the environment.
#pragma once

#include <string>

namespace libcoll::detail {

// "name pid start-time" of the nearest ancestor that is a launcher's proxy (hydra_pmi_proxy,
// pmi_proxy, mpiexec, mpirun), of the parent if none is. Ranks of one host that share the proxy get the
// same text, through shell wrappers too; the start time tells apart processes that reuse an id.
std::string launcher_process_key();

}  // namespace libcoll::detail
