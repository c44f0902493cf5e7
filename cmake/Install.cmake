# cmake --install, find_package(libcoll) and pkg-config.
include(CMakePackageConfigHelpers)
install(TARGETS coll EXPORT libcollTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY libcoll/include/libcoll DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT libcollTargets NAMESPACE libcoll:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/libcoll)
configure_package_config_file(cmake/libcollConfig.cmake.in ${CMAKE_BINARY_DIR}/libcollConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/libcoll)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/libcollConfigVersion.cmake COMPATIBILITY SameMinorVersion)
# The .pc file finds the prefix from where it lies, so that `cmake --install --prefix` is free to choose.
file(RELATIVE_PATH LIBCOLL_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/libcoll.pc.in ${CMAKE_BINARY_DIR}/libcoll.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/libcollConfig.cmake ${CMAKE_BINARY_DIR}/libcollConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/libcoll)
install(FILES ${CMAKE_BINARY_DIR}/libcoll.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
