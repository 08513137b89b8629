# Writes who receives mail in this Exchange organisation, 2007 to Subscription Edition, into exchusers.txt, a line each,
# and then exchusers.end, the line that makes the list complete: it has the list's rows and its SHA-256.
# It changes nothing in Exchange. What is wrong is said, and ends it with 1 and without a list.
#
# Written by Postern, which overwrites what is changed here by hand. Plain on purpose: PowerShell 2.0 must be able to
# run it.

$ErrorActionPreference = "Stop"
$folder = Split-Path -Parent $MyInvocation.MyCommand.Path
$draft = Join-Path $folder "exchusers.new"
$list = Join-Path $folder "exchusers.txt"
$mark = Join-Path $folder "exchusers.end"

# Each sort of recipient by its own command: Get-Recipient does not say who gets mail from inside only. It comes last,
# for those that no other command named. An Exchange without one of the switches has no such recipients.
$searches = "Get-Mailbox", "Get-Mailbox -Arbitration", "Get-Mailbox -Monitoring", "Get-Mailbox -PublicFolder",
    "Get-Mailbox -AuditLog", "Get-RemoteMailbox", "Get-MailUser", "Get-MailContact", "Get-DistributionGroup",
    "Get-DynamicDistributionGroup", "Get-MailPublicFolder", "Get-Recipient"
$newer = "Get-RemoteMailbox", "Get-Recipient"  # than Exchange 2007
$snapins = "Microsoft.Exchange.Management.PowerShell.SnapIn", "Microsoft.Exchange.Management.PowerShell.E2010",
    "Microsoft.Exchange.Management.PowerShell.Admin"

# Exchange's own text, with what parts addresses and columns marked or gone.
function Format-Address($address) {
    $text = "$address"
    if ($address.ProxyAddressString) { $text = $address.ProxyAddressString }
    $text -replace '\\', '\\' -replace ';', '\;' -replace '[\x00-\x1f]', ' '
}

function Format-Row($one) {
    $type = "$($one.RecipientTypeDetails)"
    if (-not $type) { $type = "Unknown" }
    $flags = @()
    if ($one.RequireSenderAuthenticationEnabled -eq $true) { $flags += "internal" }
    if ($one.HiddenFromAddressListsEnabled -eq $true) { $flags += "hidden" }
    if ("$($one.ExchangeUserAccountControl)" -match "AccountDisabled") { $flags += "disabled" }
    $addresses = @($one.EmailAddresses | ForEach-Object { Format-Address $_ })
    $type + "`t" + ($flags -join ",") + "`t" + ($addresses -join ";")
}

$code = 0
$session = $null
$writer = $null
try {
    # Where Exchange or its tools are installed, their snap-in; else, or if that does not load, the server's commands.
    foreach ($snapin in $snapins) {
        if (Get-Command Get-Mailbox -ErrorAction SilentlyContinue) { break }
        if (-not (Get-PSSnapin -Name $snapin -Registered -ErrorAction SilentlyContinue)) { continue }
        try { Add-PSSnapin -Name $snapin } catch { Write-Output "runexport.ps1: ${snapin}: $($_.Exception.Message)" }
    }
    if (-not (Get-Command Get-Mailbox -ErrorAction SilentlyContinue)) {
        $place = "http://EX1/PowerShell/"
        $session = New-PSSession -ConfigurationName Microsoft.Exchange -ConnectionUri $place -Authentication Kerberos
        Import-PSSession -Session $session -AllowClobber -DisableNameChecking | Out-Null
    }

    # The whole forest and not the server's domain alone; Exchange 2007 has a variable for it.
    if (Get-Command Set-ADServerSettings -ErrorAction SilentlyContinue) { Set-ADServerSettings -ViewEntireForest $true }
    elseif ($AdminSessionADSettings) { $AdminSessionADSettings.ViewEntireForest = $true }
    else { Write-Output "runexport.ps1: only the domain of this server is asked" }

    $writer = New-Object System.IO.StreamWriter($draft, $false, (New-Object System.Text.UTF8Encoding($false)))
    $writer.NewLine = "`r`n"
    $writer.WriteLine("Type`tFlags`tAddresses")
    $rows = 1
    $seen = @{}
    foreach ($search in $searches) {
        $name, $only = $search -split " -"
        $command = Get-Command $name -ErrorAction SilentlyContinue
        if (-not $command -and $newer -contains $name) { continue }
        if (-not $command) { throw "this account may not use $name" }
        if ($only -and -not $command.Parameters.ContainsKey($only)) { continue }
        $parameters = @{ ResultSize = "Unlimited"; ErrorAction = "Stop"; WarningAction = "SilentlyContinue" }
        if ($only) { $parameters[$only] = $true }
        & $name @parameters | ForEach-Object {
            if (-not $seen.ContainsKey("$($_.DistinguishedName)")) {
                $seen["$($_.DistinguishedName)"] = $true
                $writer.WriteLine((Format-Row $_))
                $rows += 1
            }
        }
    }
    $writer.Close()
    if ($rows -eq 1) { throw "no recipient was found" }

    # Where FIPS is enforced the first is not allowed, and the second is.
    try { $sha256 = New-Object System.Security.Cryptography.SHA256Managed }
    catch {
        Add-Type -AssemblyName System.Core
        $sha256 = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    }
    $stream = [System.IO.File]::OpenRead($draft)
    try { $hash = [System.BitConverter]::ToString($sha256.ComputeHash($stream)) -replace "-", "" }
    finally { $stream.Close() }
    Move-Item -Path $draft -Destination $list -Force
    [System.IO.File]::WriteAllText($mark, "#postern end rows=$rows sha256=$hash`r`n", [System.Text.Encoding]::ASCII)
    Write-Output "$($rows - 1) recipients exported"
}
catch {
    Write-Output "runexport.ps1: $($_.Exception.Message)"
    $code = 1
}
finally {
    if ($writer) { $writer.Close() }
    if ($session) { Remove-PSSession -Session $session }
    if (Test-Path $draft) { Remove-Item $draft }
}
exit $code
