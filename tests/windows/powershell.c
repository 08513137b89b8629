/* Stands in for powershell.exe that runs runexport.ps1: writes its arguments as a line of powershell.calls, waits for its
   input to end, and leaves in the script's folder what the script would leave there.

   powershell.say in the current directory chooses what happens: "rows" (default: powershell.rows becomes exchusers.txt,
   and exchusers.end has its lines and SHA-256), "error" (it says why, and ends with 1), "killed" (a list without its
   mark, and 0), "nothing" (0). */

#include <stdio.h>
#include <string.h>
#include <windows.h>
#include <wincrypt.h>

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

static int sha256(const char *text, size_t length, char *hex)
{
    HCRYPTPROV provider;
    HCRYPTHASH hash;
    BYTE digest[32];
    DWORD size = sizeof digest;
    if (!CryptAcquireContextA(&provider, NULL, NULL, PROV_RSA_AES, CRYPT_VERIFYCONTEXT) ||
        !CryptCreateHash(provider, CALG_SHA_256, 0, 0, &hash) || !CryptHashData(hash, (const BYTE *)text, length, 0) ||
        !CryptGetHashParam(hash, HP_HASHVAL, digest, &size, 0))
        return 0;
    for (DWORD n = 0; n < size; n++)
        sprintf(hex + 2 * n, "%02X", digest[n]);
    return 1;
}

static FILE *beside(const char *script, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s", script);
    char *slash = strrchr(path, '\\');
    snprintf(slash ? slash + 1 : path, sizeof path / 2, "%s", name);
    return fopen(path, "wb");
}

int main(int argc, char **argv)
{
    const char *script = argv[argc - 1];
    char hex[65] = "";
    FILE *file = fopen("powershell.calls", "ab");
    for (int n = 1; n < argc; n++)
        fprintf(file, "%s%s", n > 1 ? " " : "", argv[n]);
    fprintf(file, "\n");
    fclose(file);
    while (getchar() != EOF)
        ;
    text_of("powershell.say", say, sizeof say);
    if (!strncmp(say, "error", 5)) {
        printf("runexport.ps1: this account may not use Get-Mailbox\n");
        return 1;
    }
    if (!strncmp(say, "nothing", 7))
        return 0;
    size_t length = text_of("powershell.rows", rows, sizeof rows), lines = 0;
    file = beside(script, "exchusers.txt");
    fwrite(rows, 1, length, file);
    fclose(file);
    if (!strncmp(say, "killed", 6))
        return 0;
    for (size_t n = 0; n < length; n++)
        lines += rows[n] == '\n';
    if (!sha256(rows, length, hex))
        return 1;
    file = beside(script, "exchusers.end");
    fprintf(file, "#postern end rows=%u sha256=%s\r\n", (unsigned)lines, hex);
    fclose(file);
    printf("%u recipients exported\n", (unsigned)lines - 1);
    return 0;
}
