// The whole C++ API. Include <libcoll/mpi.hpp> as well for Comm::from_mpi.
#pragma once

#include "libcoll/bootstrap.hpp"
#include "libcoll/comm.hpp"
#include "libcoll/config.hpp"
#include "libcoll/error.hpp"
#include "libcoll/topology.hpp"
#include "libcoll/types.hpp"
