#include "service.h"

int main() {
  lever::Service service;
  AddMethods(service);
  return service.run();  // until it is drained
}
