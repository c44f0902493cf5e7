# The parsers are compiled into the targets as well: the library's objects carry no coverage counters.
libcoll_fuzz_target(fuzz_frames fuzz_frames.cpp)
target_sources(fuzz_frames PRIVATE ${PROJECT_SOURCE_DIR}/libcoll/bootstrap/frames.cpp)
libcoll_fuzz_target(fuzz_environment fuzz_environment.cpp)
target_sources(fuzz_environment PRIVATE ${PROJECT_SOURCE_DIR}/libcoll/bootstrap/environment.cpp
                                        ${PROJECT_SOURCE_DIR}/libcoll/bootstrap/env_parse.cpp
                                        ${PROJECT_SOURCE_DIR}/libcoll/bootstrap/keys.cpp)
