/* Stands in for NT 4's at: a line of at.jobs is a job ("ID COMMAND..." or "ERROR ID COMMAND..."), a line of at.calls a call. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char lines[200][512];

static int jobs(void)
{
    FILE *file = fopen("at.jobs", "r");
    int count = 0;
    while (file && count < 200 && fgets(lines[count], sizeof lines[0], file))
        lines[count][strcspn(lines[count], "\r\n")] = 0, count++;
    if (file)
        fclose(file);
    return count;
}

static int number(const char *line)
{
    return atoi(strncmp(line, "ERROR", 5) ? line : line + 5);
}

int main(int argc, char **argv)
{
    int count = jobs(), highest = 0;
    FILE *file = fopen("at.calls", "a");
    for (int n = 1; n < argc; n++)
        fprintf(file, "%s%s", n > 1 ? " " : "", argv[n]);
    fprintf(file, "\n");
    fclose(file);
    if (argc == 1) {
        printf("Status ID   Day                     Time          Command Line\n%.80s\n", "--------------------");
        for (int n = 0; n < count; n++)
            printf("%s %d   Each M T W Th F           7:05 AM       %s\n", number(lines[n]) == atoi(lines[n]) ? "     " : "ERROR",
                   number(lines[n]), strchr(lines[n], 'c'));
        return 0;
    }
    for (int n = 0; n < count; n++)
        highest = number(lines[n]) > highest ? number(lines[n]) : highest;
    file = fopen("at.jobs", "w");
    int is_delete = argc == 3 && !strcmp(argv[2], "/delete"), gone = 0;
    for (int n = 0; n < count; n++) {
        if (is_delete && number(lines[n]) == atoi(argv[1]))
            gone = 1;
        else
            fprintf(file, "%s\n", lines[n]);
    }
    if (!is_delete) {
        fprintf(file, "%d", highest + 1);
        for (int n = 3; n < argc; n++)
            fprintf(file, " %s", argv[n]);
        fprintf(file, "\n");
        printf("Added a new job with job ID = %d\n", highest + 1);
    }
    fclose(file);
    return is_delete && !gone;
}
