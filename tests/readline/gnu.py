"""Tells what GNU readline makes of lines of an init file. On stdin: a name of a keymap and what
to dump, then lines in hex.

Prints the library's version; then for the untouched library and after each line the dumps, each ended by a line `=`.
"""
import ctypes
import os
import sys

os.environ.update(INPUTRC="/dev/null", TERM="xterm")
gnu = ctypes.CDLL("libreadline.so.8")
libc = ctypes.CDLL(None)
version = ctypes.c_char_p.in_dll(gnu, "rl_library_version").value.decode()
sys.stdout.write(version + "\n")
sys.stdout.flush()
gnu.rl_initialize()
gnu.rl_get_keymap_by_name.restype = ctypes.c_void_p
gnu.rl_set_keymap.argtypes = [ctypes.c_void_p]
# The library complains to stderr, which the test does not read.
os.dup2(os.open("/dev/null", os.O_WRONLY), 2)


def dump():
    for name in kinds:
        getattr(gnu, "rl_%s_dumper" % name)(1)
        libc.fflush(None)
        print("=", flush=True)


lines = sys.stdin.read().split("\n")
keymap, *kinds = lines[0].split(" ")
gnu.rl_set_keymap(gnu.rl_get_keymap_by_name(keymap.encode()))
dump()
for line in lines[1:]:
    if line != "":
        text = ctypes.create_string_buffer(bytes.fromhex(line))
        gnu.rl_parse_and_bind(text)
        libc.fflush(None)
        dump()
