/* Does with a command what Windows' own sshd does: hands it to cmd.exe between quotes. It is in SSH_COMMAND. */

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

int main(void)
{
    static char command[30000], line[32000];
    STARTUPINFOA start = {sizeof start};
    PROCESS_INFORMATION made;
    DWORD code = 1;
    GetEnvironmentVariableA("SSH_COMMAND", command, sizeof command);
    snprintf(line, sizeof line, "cmd.exe /c \"%s\"", command);
    if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &made))
        return 1;
    WaitForSingleObject(made.hProcess, INFINITE);
    GetExitCodeProcess(made.hProcess, &code);
    return code;
}
