// Every value of the matrix, written down in C++, by its name in values.json.
#ifndef TESTS_MATRIX_CPP_VALUES_H_
#define TESTS_MATRIX_CPP_VALUES_H_

#include <lever/lever.hpp>
#include <map>
#include <string>

namespace matrix {

std::map<std::string, lever::Value> AllValues();

}  // namespace matrix

#endif  // TESTS_MATRIX_CPP_VALUES_H_
