/* LEVER_API marks the functions of the C ABI: the only symbols that liblever and liblever-host
 * export. Everything else is compiled with hidden visibility.
 *
 * The functions are called with the C calling convention, never throw, and are safe to load with
 * dlopen; LEVER_BUILDING is defined while the libraries themselves are compiled.
 */
#ifndef LEVER_EXPORT_H_
#define LEVER_EXPORT_H_

#if defined(_WIN32)
#if defined(LEVER_BUILDING)
#define LEVER_API __declspec(dllexport)
#else
#define LEVER_API __declspec(dllimport)
#endif
#elif defined(__GNUC__) || defined(__clang__)
#define LEVER_API __attribute__((visibility("default")))
#else
#define LEVER_API
#endif

#endif /* LEVER_EXPORT_H_ */
