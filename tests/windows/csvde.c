/* Stands in for csvde.exe of Windows 2000 and later: what facts are known of its export, and no more. Like recorder, it
   writes its arguments as a line of csvde.calls.

   csvde.say in the current directory chooses what happens: "rows" (default: the ASCII text of csvde.rows, header and all,
   goes to the file of -f, with -u as UTF-16), "none" (only the first line of it), "nothing" (no file), "half" (the file
   is cut off and it fails, with the number behind the word as its exit code, telling why in words and in csv.err). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char rows[1 << 20], say[64];

static size_t text_of(const char *name, char *text, size_t room)
{
    FILE *file = fopen(name, "rb");
    size_t length = file ? fread(text, 1, room - 1, file) : 0;
    text[length] = 0;
    if (file)
        fclose(file);
    return length;
}

static void log_to(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s\\%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    const char *name = NULL, *folder = ".", *server = "(null)";
    int unicode = 0;
    FILE *file = fopen("csvde.calls", "ab");
    for (int n = 1; n < argc; n++) {
        fprintf(file, "%s%s", n > 1 ? " " : "", argv[n]);
        if (!strcmp(argv[n], "-u"))
            unicode = 1;
        else if (n + 1 < argc && !strcmp(argv[n], "-f"))
            name = argv[n + 1];
        else if (n + 1 < argc && !strcmp(argv[n], "-j"))
            folder = argv[n + 1];
        else if (n + 1 < argc && !strcmp(argv[n], "-s"))
            server = argv[n + 1];
    }
    fprintf(file, "\n");
    fclose(file);

    size_t length = text_of("csvde.rows", rows, sizeof rows);
    text_of("csvde.say", say, sizeof say);
    printf("Connecting to \"%s\"\nLogging in as current user using SSPI\nExporting directory to file %s\n", server, name);
    log_to(folder, "csv.log", "Logging in as current user using SSPI\r\n");
    if (!strncmp(say, "nothing", 7) || !name)
        return 0;
    if (!strncmp(say, "none", 4))
        length = strstr(rows, "\r\n") + 2 - rows;
    if (!strncmp(say, "half", 4))
        length -= 7;
    file = fopen(name, "wb");
    if (unicode)
        fwrite("\xff\xfe", 1, 2, file);
    for (size_t n = 0; n < length; n++)
        fwrite((char[]){rows[n], 0}, 1, unicode ? 2 : 1, file);
    fclose(file);
    if (!strncmp(say, "half", 4)) {
        printf("The connection cannot be established\nAn error has occurred in the program\n");
        log_to(folder, "csv.err", "The error code is 0x51: Server Down\r\n");
        return atoi(say + 4);
    }
    printf("The command has completed successfully\n");
    return 0;
}
