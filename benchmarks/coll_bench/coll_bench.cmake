# coll-bench: one binary per MPI, since MPIs are not binary compatible; the rest is compiled once.
# Links the library as users do: public headers and libcoll.so only.
find_package(CLI11 REQUIRED)

add_library(coll_bench_common OBJECT
  coll_bench/collectives.cpp coll_bench/feeder.cpp coll_bench/files.cpp coll_bench/instructions.cpp
  coll_bench/job.cpp coll_bench/libcoll_side.cpp coll_bench/machine.cpp coll_bench/main.cpp
  coll_bench/measure.cpp coll_bench/options.cpp coll_bench/overlap.cpp coll_bench/pattern.cpp coll_bench/print.cpp
  coll_bench/print_ways.cpp coll_bench/runner.cpp coll_bench/ways.cpp)
target_include_directories(coll_bench_common PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(coll_bench_common PUBLIC coll fmt::fmt nlohmann_json::nlohmann_json CLI11::CLI11)
target_compile_definitions(coll_bench_common PRIVATE COLL_BENCH_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}")

function(coll_bench_binary name mpi_target)
  add_executable(${name} $<TARGET_OBJECTS:coll_bench_common>)
  if(mpi_target)
    target_sources(${name} PRIVATE coll_bench/mpi_side.cpp)
    target_compile_definitions(${name} PRIVATE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
    target_link_libraries(${name} PRIVATE ${mpi_target})
  else()
    target_sources(${name} PRIVATE coll_bench/mpi_absent.cpp)
  endif()
  target_link_libraries(${name} PRIVATE coll_bench_common)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

pkg_search_module(coll_bench_ompi IMPORTED_TARGET ompi-c ompi)
pkg_check_modules(coll_bench_mpich IMPORTED_TARGET mpich)
if(TARGET PkgConfig::coll_bench_ompi)
  coll_bench_binary(coll-bench PkgConfig::coll_bench_ompi)
else()
  message(STATUS "coll-bench: no Open MPI: built without --vs mpi")
  coll_bench_binary(coll-bench "")
endif()
if(TARGET PkgConfig::coll_bench_mpich)
  coll_bench_binary(coll-bench-mpich PkgConfig::coll_bench_mpich)
endif()
install(FILES plot.py compare.py DESTINATION ${CMAKE_INSTALL_DATADIR}/libcoll)

# A run of everything with tiny counts; three ranks are no power of two. (MPICH gets two: where ranks
# outnumber CPUs its waiting takes a scheduler's tick per call.)
if(BUILD_TESTING OR LIBCOLL_BUILD_TESTS)
  find_package(Python3 COMPONENTS Interpreter)
  if(Python3_FOUND)
    function(coll_bench_smoke_test name binary mpirun ranks)
      add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/smoke/smoke_test.py
                                    $<TARGET_FILE:${binary}> "${mpirun}" ${CMAKE_CURRENT_SOURCE_DIR} ${ranks})
      set_tests_properties(${name} PROPERTIES TIMEOUT 300 PROCESSORS 2)
    endfunction()
    find_program(COLL_BENCH_OMPI_RUN NAMES mpirun.openmpi mpirun)
    find_program(COLL_BENCH_MPICH_RUN NAMES mpirun.mpich)
    if(TARGET PkgConfig::coll_bench_ompi AND COLL_BENCH_OMPI_RUN)
      coll_bench_smoke_test(coll_bench_smoke coll-bench ${COLL_BENCH_OMPI_RUN} 3)
    endif()
    if(TARGET PkgConfig::coll_bench_mpich AND COLL_BENCH_MPICH_RUN)
      coll_bench_smoke_test(coll_bench_smoke_mpich coll-bench-mpich ${COLL_BENCH_MPICH_RUN} 2)
    endif()
    # Ranks on two hosts: every algorithm, and beside the MPI.
    function(coll_bench_hosts_test name launcher_arguments)
      add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/support/hosts/hosts.py run --ranks 2,1 --timeout 100
                                    ${launcher_arguments} -- $<TARGET_FILE:coll-bench> -i 2 -x 1 --repetitions 1 -c ${ARGN})
      set_tests_properties(${name} PROPERTIES TIMEOUT 120 PROCESSORS 2 SKIP_RETURN_CODE 77)
    endfunction()
    if(LIBCOLL_WITH_UCX)
      coll_bench_hosts_test(coll_bench_hosts_ways "--output;rank0" all -m 64:4K --all-algorithms)
      coll_bench_hosts_test(coll_bench_hosts_overlap "--output;rank0" all -m 64:4K --nonblocking)
      if(TARGET PkgConfig::coll_bench_ompi AND COLL_BENCH_OMPI_RUN)
        coll_bench_hosts_test(coll_bench_hosts_mpi "--launcher;openmpi;--mpirun-args=--mca pml ob1 --mca btl tcp,vader,self --mca mpi_yield_when_idle 1"
          allreduce bcast alltoallv -m 64:4K --vs mpi)
      endif()
    endif()
  endif()
endif()
