# pingpong: point-to-point messages only, one binary per MPI (compare.sh).
foreach(mpi ompi mpich)
  if(TARGET PkgConfig::coll_bench_${mpi})
    add_executable(pingpong-${mpi} pingpong/pingpong.cpp)
    target_compile_definitions(pingpong-${mpi} PRIVATE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
    target_link_libraries(pingpong-${mpi} PRIVATE PkgConfig::coll_bench_${mpi})
  endif()
endforeach()
