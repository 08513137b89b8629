# Runs a script as on Windows as far as the script sees: Cert:\ has the certificate of the folder STANDIN_WINDOWS.
param([string]$Script)

function global:Get-ChildItem {
    [CmdletBinding()] param([Parameter(Position = 0)][string[]]$Path)
    $folder = Resolve-Path $env:STANDIN_WINDOWS
    $stored = [System.Security.Cryptography.X509Certificates.X509Certificate2]::CreateFromPemFile(
        "$folder/exchange.pem", "$folder/exchange.key")
    if ($Path -contains "Cert:\LocalMachine\My\$($stored.Thumbprint)") { $stored }
}

. (Resolve-Path $Script)
