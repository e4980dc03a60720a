/* The fault hook of ossature-sys for C code that is linked into a Rust program.
 *
 *   int fd = OSSATURE_CALL("open", open(path, O_RDONLY | O_CLOEXEC));
 *   ssize_t n = OSSATURE_CALL("read", read(fd, buffer, OSSATURE_ALLOWED("read", size)));
 *
 * Compile with -DOSSATURE_FAULTS where Rust is built with --cfg ossature_faults: a rule that the Rust side has armed
 * can then make the call answer -1 with errno set, without making the call. Otherwise the macros are the call and the
 * length themselves. Name is a string, the call is one that answers -1 and sets errno.
 */
#ifndef OSSATURE_FAULTS_H
#define OSSATURE_FAULTS_H

#ifdef OSSATURE_FAULTS

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
int ossature_fault(const char *name);
size_t ossature_allowed(const char *name, size_t len);
#ifdef __cplusplus
}
#endif

#define OSSATURE_CALL(name, call) (ossature_fault(name) != 0 ? -1 : (call))
#define OSSATURE_ALLOWED(name, len) ossature_allowed(name, len)

#else

#define OSSATURE_CALL(name, call) (call)
#define OSSATURE_ALLOWED(name, len) (len)

#endif
#endif
