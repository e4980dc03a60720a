/* GNU readline's callback interface as a rival: a program of its own, which is never linked with us.
 *
 * gnu keys FILE COUNT          reads the keys of a file COUNT times, each key as if it was typed; shows them on /dev/null
 * gnu history FILE COUNT       loads a history of that file and searches its oldest line COUNT times
 * gnu loads FILE COUNT         loads the history COUNT times
 *
 * "history" and "loads" print the nanoseconds that the searches or the loads took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <readline/history.h>
#include <readline/readline.h>

static unsigned char *keys;
static size_t length, at;

static int next_key(FILE *stream)
{
    (void)stream;
    return at < length ? keys[at++] : EOF;
}

static void line_handler(char *line)
{
    free(line);
}

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void read_keys(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file || fseek(file, 0, SEEK_END))
        fail(path);
    length = (size_t)ftell(file);
    rewind(file);
    keys = malloc(length);
    if (!keys || fread(keys, 1, length, file) != length)
        fail(path);
    fclose(file);
}

static void type_keys(long count)
{
    rl_outstream = fopen("/dev/null", "w");
    rl_instream = fopen("/dev/null", "r");
    if (!rl_outstream || !rl_instream)
        fail("/dev/null");
    rl_getc_function = next_key;
    rl_catch_signals = 0;
    rl_prep_term_function = NULL;
    rl_deprep_term_function = NULL;
    using_history();
    rl_callback_handler_install("> ", line_handler);
    rl_set_screen_size(24, 80);
    for (long turn = 0; turn < count; turn++)
        for (at = 0; at < length;)
            rl_callback_read_char();
    rl_callback_handler_remove();
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "gnu keys|history|loads FILE COUNT\n");
        return 2;
    }
    long count = atol(argv[3]);
    if (!strcmp(argv[1], "keys")) {
        read_keys(argv[2]);
        type_keys(count);
        return 0;
    }
    using_history();
    if (!strcmp(argv[1], "loads")) {
        long long begin = now();
        for (long turn = 0; turn < count; turn++) {
            clear_history();
            if (read_history(argv[2]))
                fail(argv[2]);
        }
        printf("%lld\n", now() - begin);
        return 0;
    }
    if (read_history(argv[2]))
        fail(argv[2]);
    long long begin = now();
    for (long turn = 0; turn < count; turn++) {
        history_set_pos(history_length);
        if (history_search("the oldest line of all", -1) < 0)
            fail("the line is not found");
    }
    printf("%lld\n", now() - begin);
    return 0;
}
