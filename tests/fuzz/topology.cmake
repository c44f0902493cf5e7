# The module's own sources go into the targets as well: the library's copy has no coverage feedback.
file(GLOB topology_sources ${PROJECT_SOURCE_DIR}/topology/*.cpp)
foreach(name fuzz_hwloc_xml fuzz_machine_json)
  libcoll_fuzz_target(${name} ${name}.cpp)
  target_sources(${name} PRIVATE ${topology_sources})
endforeach()
