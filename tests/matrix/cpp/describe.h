// What the programs of the matrix say of a value that they got: tests/matrix/README.md has the notation.
#ifndef TESTS_MATRIX_CPP_DESCRIBE_H_
#define TESTS_MATRIX_CPP_DESCRIBE_H_

#include <lever/lever.hpp>
#include <string>

namespace matrix {

std::string Describe(const msgpack::object& value);
std::string Describe(const lever::Value& value);

}  // namespace matrix

#endif  // TESTS_MATRIX_CPP_DESCRIBE_H_
