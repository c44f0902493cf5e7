# Every library that libcoll.so itself needs, as one interface target.
find_package(Threads REQUIRED)
find_package(Boost REQUIRED COMPONENTS context)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(EXPAT REQUIRED)
pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc>=2.5)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy)
if(LIBCOLL_WITH_UCX)
  pkg_check_modules(ucx REQUIRED IMPORTED_TARGET ucx>=1.13)
endif()
find_path(EXPECTED_INCLUDE_DIR tl/expected.hpp REQUIRED)

add_library(libcoll_deps INTERFACE)
target_link_libraries(libcoll_deps INTERFACE
  Threads::Threads Boost::context fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json EXPAT::EXPAT
  PkgConfig::hwloc PkgConfig::sodium PkgConfig::hwy)
target_include_directories(libcoll_deps SYSTEM INTERFACE ${EXPECTED_INCLUDE_DIR})
if(LIBCOLL_WITH_UCX)
  target_link_libraries(libcoll_deps INTERFACE PkgConfig::ucx)
endif()
