# How every folder of Lever is compiled: flags, dependencies, and the helpers that a folder's
# CMakeLists.txt calls.
#
#   lever_folder(NAME SOURCES a.cc b.cc [DEPENDS base value] [LIBRARIES SQLite::SQLite3])
#     one static, position-independent archive lever_NAME out of liblever/<folder>.
#   lever_shared_library(TARGET [OUTPUT lever] API capi [host_capi])
#     one shared library out of the archives lever_<folder> named after API, whose functions it exports,
#     and all that these depend on: lever_* and nothing else is visible, under the version node LEVER_0.
#   lever_test(NAME SOURCES a_test.cc [FOLDERS rpc policy] [LIBRARIES ...] [LABELS ...] [TIMEOUT s])
#     one GoogleTest program, registered with ctest.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
# Asserts that are cheap stay in release builds; LEVER_DEBUG adds the expensive ones.
string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
string(REPLACE "-g" "-g1" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
add_compile_definitions($<$<CONFIG:Debug>:LEVER_DEBUG=1>)
add_compile_options(-Wall -Wextra -Wno-unused-parameter -fno-omit-frame-pointer)

set(LEVER_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
if(LEVER_SANITIZE)
  add_compile_options(-fsanitize=${LEVER_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LEVER_SANITIZE})
endif()

# The preset `fuzz`: all code tells libFuzzer which of it has run (tests/fuzz).
option(LEVER_FUZZ "Build for libFuzzer, with clang" OFF)
if(LEVER_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_compile_definitions(LEVER_DEBUG=1 _GLIBCXX_ASSERTIONS=1)
endif()

find_program(LEVER_CCACHE ccache)
if(LEVER_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${LEVER_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LEVER_CCACHE})
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# nghttp2 is linked statically, so that nothing collides with the copy that Node exports. Debian's
# archive is compiled for programs (PIE): the one thing in it that does not go into a shared library is
# how a function that only prints for debugging, and that nobody calls, reads `stderr`. In a copy of the
# archive it reads lever_nghttp2_stderr (liblever/rpc/session.cc) instead.
find_library(LEVER_NGHTTP2_ARCHIVE NAMES libnghttp2.a REQUIRED)
set(LEVER_NGHTTP2_COPY ${PROJECT_BINARY_DIR}/liblever_nghttp2.a)
execute_process(COMMAND ${CMAKE_OBJCOPY} --redefine-sym stderr=lever_nghttp2_stderr
  ${LEVER_NGHTTP2_ARCHIVE} ${LEVER_NGHTTP2_COPY} RESULT_VARIABLE lever_objcopy_result)
if(lever_objcopy_result)
  message(FATAL_ERROR "${CMAKE_OBJCOPY} failed on ${LEVER_NGHTTP2_ARCHIVE}")
endif()
add_library(lever_nghttp2 INTERFACE)
target_link_libraries(lever_nghttp2 INTERFACE ${LEVER_NGHTTP2_COPY})

# The same for zlib, whose archive goes into a shared library as it is.
find_library(LEVER_ZLIB_ARCHIVE NAMES libz.a REQUIRED)
add_library(lever_zlib INTERFACE)
target_link_libraries(lever_zlib INTERFACE ${LEVER_ZLIB_ARCHIVE})

# OpenSSL, too: Node, and whatever else a process has loaded, may have another. Debian's archives are
# position-independent as they are.
find_library(LEVER_SSL_ARCHIVE NAMES libssl.a REQUIRED)
find_library(LEVER_CRYPTO_ARCHIVE NAMES libcrypto.a REQUIRED)
add_library(lever_openssl INTERFACE)
target_link_libraries(lever_openssl INTERFACE ${LEVER_SSL_ARCHIVE} ${LEVER_CRYPTO_ARCHIVE}
  ${CMAKE_DL_LIBS})

# msgpack-cxx is header-only. Debian's package cannot be installed beside Boost 1.81, so the set-up
# script unpacks it below .deps/.
find_path(LEVER_MSGPACK_INCLUDE msgpack.hpp
  HINTS ${PROJECT_SOURCE_DIR}/.deps/msgpack-cxx/usr/include REQUIRED)
add_library(lever_msgpack INTERFACE)
target_include_directories(lever_msgpack SYSTEM INTERFACE ${LEVER_MSGPACK_INCLUDE})
target_compile_definitions(lever_msgpack INTERFACE MSGPACK_NO_BOOST)

function(lever_folder name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_library(lever_${name} STATIC ${ARG_SOURCES})
  target_include_directories(lever_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  foreach(folder IN LISTS ARG_DEPENDS)
    target_link_libraries(lever_${name} PUBLIC lever_${folder})
  endforeach()
  target_link_libraries(lever_${name} PUBLIC ${ARG_LIBRARIES} Threads::Threads)
  # The C ABI's symbols are exported from both libraries, and from nothing else.
  target_compile_definitions(lever_${name} PRIVATE LEVER_BUILDING)
endfunction()

function(lever_shared_library target)
  cmake_parse_arguments(ARG "" "OUTPUT" "API" ${ARGN})
  if(NOT ARG_OUTPUT)
    set(ARG_OUTPUT ${target})
  endif()
  # All of its code is in archives; a library needs a source all the same.
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}.c)
  file(GENERATE OUTPUT ${source} CONTENT "typedef int lever_no_code_here;\n")
  set_source_files_properties(${source} PROPERTIES GENERATED ON)
  add_library(${target} SHARED ${source})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${ARG_OUTPUT}
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}
    LINKER_LANGUAGE CXX
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/lever.map)
  # Nothing refers to the functions that are exported, so their archives are taken whole.
  foreach(folder IN LISTS ARG_API)
    add_dependencies(${target} lever_${folder})
    target_link_libraries(${target} PRIVATE
      -Wl,--whole-archive $<TARGET_FILE:lever_${folder}> -Wl,--no-whole-archive lever_${folder})
  endforeach()
  target_link_options(${target} PRIVATE
    -Wl,-Bsymbolic -Wl,--exclude-libs,liblever_nghttp2.a:libz.a:libssl.a:libcrypto.a
    # What OpenSSL keeps for each thread is freed by the library's code when the thread ends.
    -Wl,-z,nodelete
    -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/lever.map)
  if(NOT LEVER_SANITIZE)  # whose symbols are those of the program
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
endfunction()

function(lever_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;FOLDERS;LIBRARIES;LABELS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_compile_definitions(${name} PRIVATE
    LEVER_SOURCE_DIR="${PROJECT_SOURCE_DIR}" LEVER_BINARY_DIR="${PROJECT_BINARY_DIR}")
  foreach(folder IN LISTS ARG_FOLDERS)
    target_link_libraries(${name} PRIVATE lever_${folder})
  endforeach()
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gmock GTest::gtest GTest::gtest_main)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "unit;${ARG_LABELS}")
endfunction()
