/* Stands in for icacls.exe, of which Wine has no more than the name: knows the words our files and programs use.

   What is set for a file is kept in D:\access, by the file's number, so that it goes with a file that is renamed: a line
   that says whether it asks the folder above (0, 1), a line with its owner, then an entry of its own on each line. */

#define _WIN32_WINNT 0x0602

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

struct list {
    int asks, count;
    char owner[128], entry[16][160];
};

static int record(const char *path, char *name)
{
    FILE_ID_INFO info;
    HANDLE file = CreateFileA(path, 0, 7, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (file == INVALID_HANDLE_VALUE || !GetFileInformationByHandleEx(file, FileIdInfo, &info, sizeof info))
        return 0;
    CloseHandle(file);
    CreateDirectoryA("D:\\access", NULL);
    sprintf(name, "D:\\access\\%llx", *(unsigned long long *)&info.FileId);
    return 1;
}

static int read_list(const char *path, struct list *list)
{
    char name[MAX_PATH];
    memset(list, 0, sizeof *list);
    list->asks = 1;
    strcpy(list->owner, "somebody");
    if (!record(path, name))
        return 0;
    FILE *file = fopen(name, "r");
    if (!file)
        return 1;
    if (fscanf(file, "%d %127[^\n]", &list->asks, list->owner) == 2)
        while (list->count < 16 && fscanf(file, " %159[^\n]", list->entry[list->count]) == 1)
            list->count++;
    fclose(file);
    return 1;
}

static void write_list(const char *path, const struct list *list)
{
    char name[MAX_PATH];
    record(path, name);
    FILE *file = fopen(name, "w");
    fprintf(file, "%d\n%s\n", list->asks, list->owner);
    for (int n = 0; n < list->count; n++)
        fprintf(file, "%s\n", list->entry[n]);
    fclose(file);
}

static void grant(struct list *list, const char *word)
{
    const char *colon = strrchr(word, ':'), *inherits = strstr(word, "(OI)(CI)");
    char who[128], rights[8];
    sprintf(who, "%.*s", (int)(colon - word), word);
    strcpy(rights, inherits ? inherits + 8 : colon + 1);
    const char *group = !strcmp(who, "*S-1-5-32-544") ? "BA" : !strcmp(who, "*S-1-5-18") ? "SY" : who;
    const char *mask = *rights == 'F' ? "FA" : *rights == 'M' ? "0x1301bf" : "FR";
    sprintf(list->entry[list->count++], "(A;%s;%s;;;%s)", inherits ? "OICI" : "", mask, group);
}

static void put(const char *text, FILE *out) /* UTF-16, as icacls saves */
{
    for (; *text; text++)
        fputc(*text, out), fputc(0, out);
}

static void inherited(const char *path, FILE *out)
{
    struct list above;
    char parent[MAX_PATH];
    strcpy(parent, path);
    if (strrchr(parent, '\\'))
        *strrchr(parent, '\\') = 0;
    if (parent[2] == 0 || !read_list(parent, &above) || above.asks) {
        put("(A;ID;FA;;;BA)(A;ID;FA;;;SY)(A;ID;0x1301bf;;;AU)(A;ID;0x1200a9;;;BU)", out);
        return;
    }
    for (int n = 0; n < above.count; n++)
        if (!strncmp(above.entry[n], "(A;OICI;", 8))
            put("(A;ID;", out), put(above.entry[n] + 8, out);
}

static void save(const char *path, const struct list *list, const char *to)
{
    FILE *out = fopen(to, "wb");
    put(strrchr(path, '\\') ? strrchr(path, '\\') + 1 : path, out);
    put(list->asks ? "\r\nD:AI" : "\r\nD:PAI", out);
    for (int n = 0; n < list->count; n++)
        put(list->entry[n], out);
    if (list->asks)
        inherited(path, out);
    put("\r\n", out);
    fclose(out);
}

int main(int argc, char **argv)
{
    static struct list list;
    char path[MAX_PATH];
    if (argc < 3 || !GetFullPathNameA(argv[1], sizeof path, path, NULL) || !read_list(path, &list)) {
        fprintf(stderr, "The system cannot find the file specified.\n");
        return 2;
    }
    for (int n = 2; n < argc; n++) {
        if (!strcmp(argv[n], "/save") && n + 1 < argc)
            save(path, &list, argv[++n]);
        else if (!strcmp(argv[n], "/reset"))
            list.asks = 1, list.count = 0;
        else if (!strcmp(argv[n], "/inheritance:r"))
            list.asks = 0;
        else if (!strcmp(argv[n], "/grant:r") && n + 1 < argc && strchr(argv[n + 1], ':'))
            grant(&list, argv[++n]);
        else if (!strcmp(argv[n], "/setowner") && n + 1 < argc)
            strcpy(list.owner, argv[++n]);
        else {
            fprintf(stderr, "Invalid parameter \"%s\"\n", argv[n]);
            return 87;
        }
    }
    write_list(path, &list);
    printf("processed file: %s\n", argv[1]);
    return 0;
}
