/* Stands in for ADMIN.EXE of Exchange 5.5: what facts are known of its unattended export, and no more.

   - The first line of the file it is to write names the columns; without such a line it writes thirteen of its own.
   - It keeps the file that was there under another name (.C00).
   - It exits with 0 whatever happens, and says nothing.

   admin.say in the current directory chooses what happens: "rows" (default; they are in admin.rows), "none" (only the
   header), "nothing" (no file), "late" (another run has broken the lock meanwhile), "long" (the archive is FILE.txt.C00),
   "hang" (it waits, as for somebody to press OK, until there is a file admin.go). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static const char *DEFAULT = "Obj-Class,First Name,Last name,Display Name,Alias Name,Directory Name,Primary Windows NT "
                             "Account,Home-Server,E-mail address,E-mail Addresses,Members,Obj-Container,Hide from AB\r\n";

static size_t text_of(const char *name, char *text, size_t room)
{
    FILE *file = fopen(name, "rb");
    size_t length = file ? fread(text, 1, room - 1, file) : 0;
    text[length] = 0;
    if (file)
        fclose(file);
    return length;
}

static void archive(const char *name, int keep_ending)
{
    char other[MAX_PATH];
    strcpy(other, name);
    if (!keep_ending && strrchr(other, '.'))
        *strrchr(other, '.') = 0;
    strcat(other, ".C00");
    DeleteFileA(other);
    MoveFileA(name, other);
}

int main(int argc, char **argv)
{
    static char say[64], header[4096], options[4096], rows[1 << 20];
    const char *name = NULL, *options_name = NULL;
    for (int n = 1; n < argc; n++) {
        if (!strcmp(argv[n], "/e") && n + 1 < argc)
            name = argv[++n];
        else if (!strcmp(argv[n], "/o") && n + 1 < argc)
            options_name = argv[++n];
    }
    text_of("admin.say", say, sizeof say);
    while (!strncmp(say, "hang", 4) && GetFileAttributesA("admin.go") == INVALID_FILE_ATTRIBUTES)
        Sleep(10);
    if (!name || !options_name)
        return 0;
    text_of(options_name, options, sizeof options);
    text_of(name, header, sizeof header);
    archive(name, !strncmp(say, "long", 4));
    if (!strncmp(say, "nothing", 7))
        return 0;
    FILE *file = fopen(name, "wb");
    if (!file)
        return 0;
    char *end = strstr(header, "\r\n");
    if (end)
        end[2] = 0;
    fputs(end && !strncmp(header, "Obj-Class", 9) ? header : DEFAULT, file);
    if (strncmp(say, "none", 4) && !strncmp(options, "[Export]", 8))
        fwrite(rows, 1, text_of("admin.rows", rows, sizeof rows), file);
    fclose(file);
    if (!strncmp(say, "late", 4)) {
        file = fopen("runexport.lck\\owner", "wb");
        fputs("another run\r\n", file);
        fclose(file);
    }
    return 0;
}
