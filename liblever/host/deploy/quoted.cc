#include "liblever/host/deploy/quoted.h"

#include <nlohmann/json.hpp>

namespace lever::deploy {

std::string Quoted(std::string_view text, size_t bytes_max) {
  using nlohmann::json;
  std::string cut(text.substr(0, bytes_max));
  if (cut.size() < text.size()) cut += "...";
  return json(cut).dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

}  // namespace lever::deploy
