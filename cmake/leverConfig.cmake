# find_package(lever): the targets lever::lever (the C ABI), lever::lever-host (host.h; link it instead of
# the other, not beside it) and, where msgpack-cxx is found,
# lever::cpp (lever.hpp). Set LEVER_MSGPACK_INCLUDE to the directory of msgpack.hpp if it is elsewhere.
include("${CMAKE_CURRENT_LIST_DIR}/lever-targets.cmake")
find_path(LEVER_MSGPACK_INCLUDE msgpack.hpp)
if(LEVER_MSGPACK_INCLUDE AND NOT TARGET lever::cpp)
  add_library(lever::cpp INTERFACE IMPORTED)
  target_link_libraries(lever::cpp INTERFACE lever::lever)
  target_include_directories(lever::cpp SYSTEM INTERFACE "${LEVER_MSGPACK_INCLUDE}")
  target_compile_definitions(lever::cpp INTERFACE MSGPACK_NO_BOOST)
endif()
