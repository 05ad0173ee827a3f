# Puts the files of a folder into a C++ source:
#   cmake -DFOLDER=<templates> -DOUTPUT=<templates.cc> -P templates.cmake
# <language>/dot-gitignore becomes the file .gitignore of that language.
file(GLOB_RECURSE paths LIST_DIRECTORIES false RELATIVE ${FOLDER} ${FOLDER}/*)
list(SORT paths)
set(source "#include \"daemon/lever/templates.h\"\n\nnamespace lever::cli {\nnamespace {\n\n")
string(APPEND source "constexpr TemplateFile kFiles[] = {\n")
foreach(path IN LISTS paths)
  file(READ ${FOLDER}/${path} content)
  string(REGEX MATCH "^[^/]+" language ${path})
  string(REGEX REPLACE "^[^/]+/" "" name ${path})
  string(REGEX REPLACE "(^|/)dot-" "\\1." name ${name})
  string(APPEND source "    {\"${language}\", \"${name}\", R\"lever_file(${content})lever_file\"},\n")
endforeach()
string(APPEND source "};\n\n}  // namespace\n\n"
  "std::span<const TemplateFile> TemplateFiles() { return kFiles; }\n\n}  // namespace lever::cli\n")
file(WRITE ${OUTPUT} "${source}")
