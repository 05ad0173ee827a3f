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
  # The build tree can be built against as well, by find_package(lever) with it as the prefix: that is how
  # `lever test` and build steps find the C++ package of the tree that the command lies in.
  set(lever_tree_config ${PROJECT_BINARY_DIR}/lib/cmake/lever)
  export(EXPORT lever-targets NAMESPACE lever:: FILE ${lever_tree_config}/lever-targets.cmake)
  file(COPY ${PROJECT_BINARY_DIR}/leverConfigVersion.cmake DESTINATION ${lever_tree_config})
  file(READ ${PROJECT_SOURCE_DIR}/cmake/leverConfig.cmake lever_config)
  file(WRITE ${lever_tree_config}/leverConfig.cmake
    "set(LEVER_MSGPACK_INCLUDE \"${LEVER_MSGPACK_INCLUDE}\" CACHE PATH \"\")\n${lever_config}")
  # From where the file lies back to the prefix, so that an installation can be moved.
  file(RELATIVE_PATH lever_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" lever_pc_prefix "${lever_pc_prefix}")
  foreach(lever_pc_name IN LISTS lever_libraries)
    set(lever_pc ${PROJECT_BINARY_DIR}/${lever_pc_name}.pc)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/lever.pc.in ${lever_pc} @ONLY)
    install(FILES ${lever_pc} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  endforeach()
endif()
