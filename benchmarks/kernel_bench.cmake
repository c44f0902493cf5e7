find_package(benchmark REQUIRED)
add_executable(kernel-bench kernel_bench.cpp)
target_link_libraries(kernel-bench PRIVATE coll_internal benchmark::benchmark)
