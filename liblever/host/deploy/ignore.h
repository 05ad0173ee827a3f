// .leverignore: what of a directory is not packed, in the language of gitignore(5).
//
//   *.log       at any depth             /build     at the top only
//   cache/      directories only         a/*.o      a slash inside: from the top
//   **/tmp      at any depth             a/**       everything below a
//   !keep.log   taken back; not from inside a directory that is excluded
//   #           a comment; \# and \! begin a name
//
// The last pattern that matches decides. One file, at the root. Values; safe on any thread.
#ifndef LIBLEVER_HOST_DEPLOY_IGNORE_H_
#define LIBLEVER_HOST_DEPLOY_IGNORE_H_

#include <string>
#include <string_view>
#include <vector>

namespace lever::deploy {

inline constexpr std::string_view kIgnoreFile = ".leverignore";

enum class PathKind { kFile, kDirectory };

class IgnoreRules {
 public:
  // Nothing is wrong in a pattern file: what makes no sense matches nothing.
  static IgnoreRules Parse(std::string_view text);

  // `path` is relative, without a slash at its end. Whoever asks has asked for its directories before,
  // and does not ask for what is below an excluded one.
  bool Excludes(std::string_view path, PathKind kind) const;

 private:
  struct Rule {
    std::string pattern;  // relative to the root
    bool take_back = false;
    bool directories_only = false;
  };
  std::vector<Rule> rules_;
};

// Whether `text` matches `pattern`: * and ? (not '/'), [a-z] [!a] [^a], \ before a literal, and ** as a
// whole segment for any number of them. Time is bounded by the product of their lengths.
bool GlobMatches(std::string_view pattern, std::string_view text);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_IGNORE_H_
