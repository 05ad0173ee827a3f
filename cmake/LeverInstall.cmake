# What `cmake --install` lays down: headers, libraries, find_package(lever) and pkg-config.
install(DIRECTORY include/lever DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING
  PATTERN "*.h" PATTERN "*.hpp")
if(TARGET lever)
  include(CMakePackageConfigHelpers)
  set(lever_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lever)
  set(lever_libraries lever)
  if(TARGET lever-host)
    list(APPEND lever_libraries lever-host)
  endif()
  install(TARGETS ${lever_libraries} EXPORT lever-targets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT lever-targets NAMESPACE lever:: DESTINATION ${lever_config_dir})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/leverConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_SOURCE_DIR}/cmake/leverConfig.cmake
    ${PROJECT_BINARY_DIR}/leverConfigVersion.cmake DESTINATION ${lever_config_dir})
  # From where the file lies back to the prefix, so that an installation can be moved.
  file(RELATIVE_PATH lever_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" lever_pc_prefix "${lever_pc_prefix}")
  foreach(lever_pc_name IN LISTS lever_libraries)
    set(lever_pc ${PROJECT_BINARY_DIR}/${lever_pc_name}.pc)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/lever.pc.in ${lever_pc} @ONLY)
    install(FILES ${lever_pc} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  endforeach()
endif()
