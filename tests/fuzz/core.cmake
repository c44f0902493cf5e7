libcoll_fuzz_target(fuzz_config fuzz_config.cpp)
target_sources(fuzz_config PRIVATE ${PROJECT_SOURCE_DIR}/libcoll/core/config.cpp)
