# Writes who receives mail in this Exchange organisation, 2007 to Subscription Edition, into exchusers.txt, a line each,
# and then exchusers.end, the line that makes the list complete: it has the list's rows and its SHA-256.
# It changes nothing in Exchange. On an error it says what is wrong, and ends with 1 and without a list.
#
# Written by Postern, which overwrites what is changed here by hand. Plain on purpose: PowerShell 2.0 must be able to
# run it.

$ErrorActionPreference = "Stop"
$folder = Split-Path -Parent $MyInvocation.MyCommand.Path
$draft = Join-Path $folder "exchusers.new"
$list = Join-Path $folder "exchusers.txt"
$mark = Join-Path $folder "exchusers.end"
$markdraft = Join-Path $folder "exchusers.mrk"

# Each sort of recipient by its own command: Get-Recipient does not say who gets mail from inside only. It comes last,
# for those that no other command named. An Exchange without one of the switches has no such recipients.
$searches = "Get-Mailbox", "Get-Mailbox -Arbitration", "Get-Mailbox -Monitoring", "Get-Mailbox -PublicFolder",
    "Get-Mailbox -AuditLog", "Get-RemoteMailbox", "Get-MailUser", "Get-MailContact", "Get-DistributionGroup",
    "Get-DynamicDistributionGroup", "Get-MailPublicFolder", "Get-Recipient"
$newer = @("Get-RemoteMailbox")  # than some Exchange that is asked: not there, it is not missed
$snapins = "Microsoft.Exchange.Management.PowerShell.SnapIn", "Microsoft.Exchange.Management.PowerShell.E2010",
    "Microsoft.Exchange.Management.PowerShell.Admin"

# What went wrong, in one line and without PowerShell's own words around it.
function Get-Reason($fault) {
    $reason = $fault.Exception
    while ($reason -is [System.Management.Automation.MethodInvocationException] -and $reason.InnerException) {
        $reason = $reason.InnerException
    }
    ("$($reason.Message)" -replace '\s+', ' ').Trim()
}

# Exchange's own text, in which characters that separate addresses and columns are marked or removed.
function Format-Address($address) {
    $text = "$address"
    if ($address.ProxyAddressString) { $text = $address.ProxyAddressString }
    $text -replace '\\', '\\' -replace ';', '\;' -replace '[\x00-\x1f]', ' '
}

# No addresses where Exchange returns none, or cannot read them itself.
function Get-Addresses($one) {
    try { $one.EmailAddresses | ForEach-Object { Format-Address $_ } | Where-Object { $_ -match ":" } } catch { return }
}

function Format-Row($one, $addresses) {
    $type = "$($one.RecipientTypeDetails)"
    if (-not $type) { $type = "Unknown" }
    $flags = @()
    if ($one.RequireSenderAuthenticationEnabled -eq $true) { $flags += "internal" }
    if ($one.HiddenFromAddressListsEnabled -eq $true) { $flags += "hidden" }
    if ("$($one.ExchangeUserAccountControl)" -match "AccountDisabled") { $flags += "disabled" }
    $type + "`t" + ($flags -join ",") + "`t" + ($addresses -join ";")
}

$code = 0
$asking = ""
$session = $null
$writer = $null
try {
    # Where Exchange or its tools are installed, their snap-in; else, or if that does not load, the server's commands.
    foreach ($snapin in $snapins) {
        if (Get-Command Get-Mailbox -ErrorAction SilentlyContinue) { break }
        if (-not (Get-Command Get-PSSnapin -ErrorAction SilentlyContinue)) { break }  # PowerShell 6 and later has none
        if (-not (Get-PSSnapin -Name $snapin -Registered -ErrorAction SilentlyContinue)) { continue }
        try { Add-PSSnapin -Name $snapin } catch { Write-Output "runexport.ps1: ${snapin}: $(Get-Reason $_)" }
    }
    if (-not (Get-Command Get-Mailbox -ErrorAction SilentlyContinue)) {
        $place = "http://EX1/PowerShell/"
        try {
            $name = "Microsoft.Exchange"
            $session = New-PSSession -ConfigurationName $name -ConnectionUri $place -Authentication Kerberos
            Import-PSSession -Session $session -AllowClobber -DisableNameChecking | Out-Null
        }
        catch { throw "no Exchange here, and the one at $place cannot be used: $(Get-Reason $_)" }
    }

    # The whole forest and not the server's domain alone; Exchange 2007 has a variable for it.
    if (Get-Command Set-ADServerSettings -ErrorAction SilentlyContinue) { Set-ADServerSettings -ViewEntireForest $true }
    else {
        $newer += "Get-Recipient"  # 2007 has it since its first service pack
        if ($AdminSessionADSettings) { $AdminSessionADSettings.ViewEntireForest = $true }
        else { Write-Output "runexport.ps1: only the domain of this server is asked" }
    }

    $writer = New-Object System.IO.StreamWriter($draft, $false, (New-Object System.Text.UTF8Encoding($false)))
    $writer.NewLine = "`r`n"
    $writer.WriteLine("Type`tFlags`tAddresses")
    $rows = 1
    # Both by name. @{} would take names for one and the same that differ in letter case, or in how they are written.
    $seen = New-Object System.Collections.Hashtable
    $bare = New-Object System.Collections.Hashtable
    foreach ($search in $searches) {
        $name, $only = $search -split " -"
        $command = Get-Command $name -ErrorAction SilentlyContinue
        if (-not $command -and $newer -contains $name) { continue }
        if (-not $command) { throw "this account may not use $name" }
        if ($only -and -not $command.Parameters.ContainsKey($only)) { continue }
        $parameters = @{ ResultSize = "Unlimited"; ErrorAction = "Stop"; WarningAction = "SilentlyContinue" }
        $parameters["WarningVariable"] = "warned"
        if ($only) { $parameters[$only] = $true }
        $asking, $warned, $found, $addressed = "${search}: ", @(), 0, 0
        & $name @parameters | ForEach-Object {
            $found += 1
            $dn = "$($_.DistinguishedName)"  # only one that is there makes two rows the same recipient
            $addresses = @(Get-Addresses $_)
            if ($addresses.Count) { $addressed += 1 }
            if (-not $addresses.Count) { if ($dn) { $bare[$dn] = $true } else { $bare["$search $found"] = $true } }
            elseif (-not ($dn -and $seen.ContainsKey($dn))) {
                if ($dn) { $seen[$dn] = $true }
                $writer.WriteLine((Format-Row $_ $addresses))
                $rows += 1
            }
        }
        $asking = ""
        if ($found -and -not $addressed) { throw "${search}: none of $found has an address that can be read" }
        $cut = @($warned | Where-Object { "$_" -match "ResultSize|more results" })
        if ($cut) { throw "${search} gave only a part of its list: $($cut[0])" }
        if ($warned) { Write-Output "runexport.ps1: ${search}: $($warned.Count) warnings, the first: $($warned[0])" }
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

    # An old mark never stands beside a new list, and half a mark beside none.
    $end = "#postern end rows=$rows sha256=$hash`r`n"
    [System.IO.File]::WriteAllText($markdraft, $end, [System.Text.Encoding]::ASCII)
    if (Test-Path $mark) { Remove-Item $mark }
    Move-Item -Path $draft -Destination $list -Force
    Move-Item -Path $markdraft -Destination $mark -Force
    $without = @($bare.Keys | Where-Object { -not $seen.ContainsKey($_) }).Count
    Write-Output "$($rows - 1) recipients exported"
    if ($without) { Write-Output "$without more have no address that can be read, and are not in the list" }
}
catch {
    Write-Output "runexport.ps1: $asking$(Get-Reason $_)"
    $code = 1
}
finally {
    # Each of these is tried even if the one before fails: on a full disk the first fails.
    $last = { if ($writer) { $writer.Close() } }, { if ($session) { Remove-PSSession -Session $session } },
        { if (Test-Path $draft) { Remove-Item $draft } }, { if (Test-Path $markdraft) { Remove-Item $markdraft } }
    foreach ($step in $last) { try { & $step } catch { $code = 1 } }
}
exit $code
