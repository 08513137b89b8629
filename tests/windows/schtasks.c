/* Stands in for schtasks.exe, of which Wine has less than our files use. A call is a line of D:\schtasks.calls, a task
   a file of D:\tasks: what /xml said, with what Windows adds when it takes it in; or, of a task of 2003, the call. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static const char *option(int argc, char **argv, const char *name)
{
    for (int n = 1; n + 1 < argc; n++)
        if (!_stricmp(argv[n], name))
            return argv[n + 1];
    return NULL;
}

static int has(int argc, char **argv, const char *name)
{
    for (int n = 1; n < argc; n++)
        if (!_stricmp(argv[n], name))
            return 1;
    return 0;
}

static void note(const char *path, const char *mode, int argc, char **argv)
{
    FILE *file = fopen(path, mode);
    for (int n = 1; n < argc; n++)
        fprintf(file, "%s%s", n > 1 ? " " : "", argv[n]);
    fprintf(file, "\n");
    fclose(file);
}

/* Writes a text, a word of it replaced by another. */
static void put(FILE *out, const char *text, const char *word, const char *other)
{
    const char *at = strstr(text, word);
    if (!at)
        fputs(text, out);
    else
        fprintf(out, "%.*s%s%s", (int)(at - text), text, other, at + strlen(word));
}

static int take_in(const char *path, const char *from, const char *name, const char *account)
{
    static char text[20000], other[500];
    FILE *file = fopen(from, "rb");
    if (!file) {
        fprintf(stderr, "ERROR: The system cannot find the file specified.\n");
        return 1;
    }
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    const char *changes[][2] = {
        {"<?xml version=\"1.0\" ?>", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>"},
        {"<Triggers>", other},
        {"PT60M", "PT1H"},
        {"<StopAtDurationEnd>false</StopAtDurationEnd>", ""},
        {"<RunLevel>", account && !strcmp(account, "SYSTEM") ? "<UserId>S-1-5-18</UserId><RunLevel>" : "<RunLevel>"},
        {"<Settings>", "<Settings><IdleSettings><StopOnIdleEnd>true</StopOnIdleEnd></IdleSettings>"},
    };
    sprintf(other, "<RegistrationInfo><URI>\\%s</URI></RegistrationInfo><Triggers>", name);
    for (int n = 0; n < 6; n++) {
        file = fopen(path, "wb");
        put(file, text, changes[n][0], changes[n][1]);
        fclose(file);
        file = fopen(path, "rb");
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
    }
    printf("SUCCESS: The scheduled task \"%s\" has successfully been created.\n", name);
    return 0;
}

static int list(void)
{
    WIN32_FIND_DATAA found;
    HANDLE next = FindFirstFileA("D:\\tasks\\*", &found);
    do
        if (*found.cFileName != '.')
            printf("\"%s\",\"07:05:00, 11/23/2026\",\"\"\r\n", found.cFileName);
    while (FindNextFileA(next, &found));
    return 0;
}

/* Starts what a task of this kind says, and does not wait. */
static int start(const char *call)
{
    static char line[2000];
    const char *from = strstr(call, " /tr ") + 5, *to = strstr(call, " /sc ");
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    HANDLE nothing = CreateFileA("NUL", GENERIC_READ | GENERIC_WRITE, 3, &inherited, OPEN_EXISTING, 0, NULL);
    STARTUPINFOA how = {sizeof how};
    PROCESS_INFORMATION made;
    how.dwFlags = STARTF_USESTDHANDLES;
    how.hStdInput = how.hStdOutput = how.hStdError = nothing;
    sprintf(line, "cmd.exe /c %.*s", (int)(to - from), from);
    return !CreateProcessA(NULL, line, NULL, NULL, TRUE, CREATE_NO_WINDOW, NULL, "C:\\windows\\system32", &how, &made);
}

int main(int argc, char **argv)
{
    static char path[MAX_PATH], text[20000];
    const char *name = option(argc, argv, "/tn"), *xml = option(argc, argv, "/xml");
    CreateDirectoryA("D:\\tasks", NULL);
    note("D:\\schtasks.calls", "a", argc, argv);
    if (GetFileAttributesA("D:\\schtasks.denied") != INVALID_FILE_ATTRIBUTES) {
        fprintf(stderr, "ERROR: Access is denied.\n");
        return 1;
    }
    if (has(argc, argv, "/query") && !name)
        return list();
    sprintf(path, "D:\\tasks\\%s", name);
    if (has(argc, argv, "/create") && xml)
        return take_in(path, xml, name, option(argc, argv, "/ru"));
    if (has(argc, argv, "/create")) {
        note(path, "w", argc, argv);
        return 0;
    }
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "ERROR: The system cannot find the file specified.\n");
        return 1;
    }
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    if (has(argc, argv, "/run"))
        return start(text);
    if (has(argc, argv, "/delete"))
        return !DeleteFileA(path);
    fwrite(text, 1, strlen(text), stdout);
    return 0;
}
