// The identity of a bundle: BLAKE2b-256 of its tar stream before compression, in small hex digits.
//
// One thread at a time. Functions of the file are safe from any thread.
#ifndef LIBLEVER_HOST_DEPLOY_CONTENT_HASH_H_
#define LIBLEVER_HOST_DEPLOY_CONTENT_HASH_H_

#include <memory>
#include <string>
#include <string_view>

namespace lever::deploy {

class ContentHash {
 public:
  ContentHash();
  ~ContentHash();

  void Add(std::string_view bytes);
  // The hash of all that was added; ends the object's use.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// 64 small hex digits, and so safe as a file's name.
bool IsContentHash(std::string_view text);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_CONTENT_HASH_H_
