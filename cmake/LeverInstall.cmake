# What `cmake --install` lays down: headers, libraries, find_package(lever) and pkg-config.
install(DIRECTORY include/lever DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING
  PATTERN "*.h" PATTERN "*.hpp")
