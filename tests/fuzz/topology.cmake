# The module's own sources once more, with coverage feedback, which the library's copy has not.
file(GLOB topology_sources ${PROJECT_SOURCE_DIR}/topology/*.cpp)
add_library(fuzzed_topology OBJECT ${topology_sources})
target_compile_options(fuzzed_topology PRIVATE -fsanitize=fuzzer-no-link)
target_include_directories(fuzzed_topology PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/libcoll/include)
target_link_libraries(fuzzed_topology PUBLIC libcoll_deps)

foreach(name fuzz_hwloc_xml fuzz_machine_json fuzz_topology_file fuzz_topology_override)
  libcoll_fuzz_target(${name} ${name}.cpp)
  target_link_libraries(${name} PRIVATE fuzzed_topology)
endforeach()
