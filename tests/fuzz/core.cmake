libcoll_fuzz_target(fuzz_config fuzz_config.cpp)
target_sources(fuzz_config PRIVATE ${PROJECT_SOURCE_DIR}/libcoll/core/call.cpp ${PROJECT_SOURCE_DIR}/libcoll/core/config.cpp)
libcoll_fuzz_target(fuzz_tuning fuzz_tuning.cpp)
target_sources(fuzz_tuning PRIVATE ${PROJECT_SOURCE_DIR}/libcoll/core/call.cpp ${PROJECT_SOURCE_DIR}/libcoll/algorithms/recipe.cpp
  ${PROJECT_SOURCE_DIR}/libcoll/planning/tuning.cpp)
