# Writes who receives mail in acme.onmicrosoft.com (Exchange Online) into exchusers.txt: first what the
# tenant says of its domains, then a recipient a line; and then exchusers.end, the line that makes the list complete:
# it has the list's rows and its SHA-256. It changes nothing there. What is wrong is said, and ends it with 1 and
# without a list.
#
# A list can be cut without an error, so the script asks for all recipients in two ways, and looks up what differs.
#
# Written by Postern, which overwrites what is changed here by hand. For Windows PowerShell 5.1 and PowerShell 7.

$ErrorActionPreference = "Stop"
$ProgressPreference = "SilentlyContinue"
$organization = "acme.onmicrosoft.com"
$application = "11111111-2222-4333-8444-555555555555"
$environment = "O365Default"
$thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567"
$certificateFile = ""
$keyFile = ""
$most = 50  # addresses that the two looks may differ in
$notice = 30  # days before its certificate runs out from which that is said

$folder = Split-Path -Parent $MyInvocation.MyCommand.Path
$draft = Join-Path $folder "exchusers.new"
$list = Join-Path $folder "exchusers.txt"
$mark = Join-Path $folder "exchusers.end"
$markDraft = Join-Path $folder "exchusers.mrk"

# The second look: each sort of recipient by its own command, which alone says who gets mail from inside only.
# Get-EXOMailbox does not, so a further command asks for the few mailboxes for which that holds.
$insideOnly = "RequireAllSendersAreAuthenticated -eq `$true"
$searches = @(
    @{ Name = "Get-EXOMailbox"; With = @{ PropertySets = "Minimum", "AddressList" } }
    @{ Name = "Get-Mailbox"; Switch = "PublicFolder" }
    @{ Name = "Get-MailUser" }
    @{ Name = "Get-MailUser"; Switch = "HVEAccount" }
    @{ Name = "Get-MailContact" }
    @{ Name = "Get-DistributionGroup" }
    @{ Name = "Get-DynamicDistributionGroup" }
    @{ Name = "Get-MailPublicFolder" }
    @{ Name = "Get-UnifiedGroup" }
)
$needed = "Get-AcceptedDomain", "Get-OrganizationConfig", "Get-Recipient", "Get-Mailbox", "Get-MailUser",
    "Get-MailContact", "Get-DistributionGroup", "Get-DynamicDistributionGroup"
$optional = "Get-MailPublicFolder", "Get-UnifiedGroup"  # a tenant without such recipients may lack the command

$lacking = "the app's role in Exchange lacks this command; a new role takes up to an hour"

# What misleading errors mean. The meaning of the first text that an error contains is written before the error.
$meanings = @(
    @("AADSTS700027.*expired", "the certificate has expired, or the clock of this computer is wrong"),
    @("AADSTS700027|AADSTS700023", "the certificate is not one of the app registration's: upload it there"),
    @("AADSTS700016", "there is no app $application in ${organization}: is app_id right, and consent given there?"),
    @("AADSTS90002|AADSTS900023", "there is no organization $organization"),
    @("AADSTS7000112", "the app $application is disabled in $organization"),
    @("Update-ModuleManifest|Update-Manifest", "PowerShellGet and PackageManagement are missing on this computer"),
    @("could not be correctly formed", "the app has another permission than Exchange.ManageAsApp, or no role"),
    @("GetResponseHeader", "not allowed (401): the app's role is missing, or younger than an hour"),
    @("CmdletAccessDenied|aren't present in the role", "the app's role in Exchange lacks a part of this command"),
    @("is not allowed to call", $lacking),
    @("^\W*UnAuthorized\W*$", "the app lacks the permission Exchange.ManageAsApp, with an administrator's consent"),
    @("\b401\b|Unauthorized|\b403\b|Forbidden", "not allowed: the app's role is missing, or younger than an hour"),
    @("\b429\b|TooManyRequests|throttl|MicroDelay", "Microsoft had too many requests: the next run will do"),
    @("\b50[0234]\b|timed out|timeout", "Microsoft did not answer in time: the next run will do"),
    @("running scripts is disabled|not digitally signed", "a policy forbids scripts on this computer"),
    @("NameResolution|No such host|not be resolved|service not known", "Microsoft is not reached from here"),
    @("only on Windows", "a thumbprint serves on Windows alone; elsewhere the certificate is two files")
)

# What went wrong, in one line and without PowerShell's own words around it.
function Get-Text($fault) {
    $reason = $fault.Exception
    while ($reason -is [System.Management.Automation.MethodInvocationException] -and $reason.InnerException) {
        $reason = $reason.InnerException
    }
    $text = ("$($reason.Message)" -replace '[\s\x00-\x1f]+', ' ').Trim()
    if ($text.Length -gt 600) { $text = $text.Substring(0, 600) + "..." }
    $text
}

# The same for Microsoft's errors, with their meaning.
function Get-Reason($text) {
    foreach ($meaning in $meanings) { if ($text -match $meaning[0]) { return "$($meaning[1]) ($text)" } }
    $text
}

# Runs one command and hands each object to a block. Throws on any sign that the command failed or gave only a part.
function Invoke-Search($name, $parameters, $take) {
    $failed = @()
    $warned = @()
    $global:EXO_LastExecutionStatus = $true
    try {
        & $name @parameters -ErrorAction Stop -ErrorVariable failed -WarningVariable warned 3>$null |
            ForEach-Object $take
    }
    catch { throw "${name}: $(Get-Reason (Get-Text $_))" }
    if ($failed.Count) { throw "${name}: $(Get-Reason "$($failed[0])")" }
    if ($global:EXO_LastExecutionStatus -eq $false) { throw "${name}: it failed and did not say why" }
    foreach ($warning in $warned) {
        if ("$warning" -match "ResultSize|more results|first \d+ items") { throw "${name} gave only a part: $warning" }
    }
    if ($warned.Count) { Write-Log "${name}: $($warned.Count) warnings, the first: $($warned[0])" }
}

function Write-Log($text) {
    [System.Console]::Out.WriteLine("runexport.ps1: " + ($text -replace '[\s\x00-\x1f]+', ' '))
}

function Get-Ascii($domain) {
    try { (New-Object System.Globalization.IdnMapping).GetAscii($domain.Trim().TrimEnd(".")).ToLowerInvariant() }
    catch { $domain.Trim().TrimEnd(".").ToLowerInvariant() }
}

# Whether a domain is one of the tenant's, or lies below one that takes those below it.
function Test-Ours($domain) {
    if (-not $ours.ContainsKey($domain)) {
        $ascii = Get-Ascii $domain
        $ours[$domain] = $accepted.ContainsKey($ascii)
        foreach ($parent in $parents) { if ($ascii.EndsWith(".$parent")) { $ours[$domain] = $true } }
    }
    $ours[$domain]
}

# The addresses of a recipient as they are written: of the internet ones in the tenant's domains, those compared.
function Get-Compared($addresses) {
    foreach ($address in $addresses) {
        if (-not $address.StartsWith("smtp:", [System.StringComparison]::OrdinalIgnoreCase)) { continue }
        $at = $address.LastIndexOf("@")
        if ($at -gt 0 -and (Test-Ours $address.Substring($at + 1).ToLowerInvariant())) {
            $address.Substring(5).Trim().ToLowerInvariant()
        }
    }
}

function Format-Row($one) {
    $type = "$($one.Type)"
    if (-not $type) { $type = "Unknown" }
    $flags = @()
    if ($one.Internal) { $flags += "internal" }
    if ($one.Hidden) { $flags += "hidden" }
    $addresses = ($one.Addresses -replace '\\', '\\' -replace ';', '\;' -replace '[\x00-\x1f]', ' ')
    ($type -replace '[\x00-\x1f]', ' ') + "`t" + ($flags -join ",") + "`t" + ($addresses -join ";")
}

# Notes a recipient of one of the two looks. Two rows are the same recipient only if both have the same name.
function Add-Recipient($found, $look) {
    $counts[$look] += 1
    $types["$look $($found.RecipientTypeDetails)"] = $true
    $addresses = @(foreach ($address in $found.EmailAddresses) { "$address" })
    $name = "$($found.DistinguishedName)"
    $one = $null
    if ($name) { $one = $recipients[$name] } else { $name = "$look $($counts[$look])" }
    if (-not $one) {
        $one = @{ Type = $found.RecipientTypeDetails; Hidden = $false; Internal = $false
            Addresses = New-Object System.Collections.Generic.List[string] }
        $recipients[$name] = $one
    }
    foreach ($address in $addresses) { if (-not $one.Addresses.Contains($address)) { $one.Addresses.Add($address) } }
    if ($found.HiddenFromAddressListsEnabled -eq $true) { $one.Hidden = $true }
    if ($found.RequireSenderAuthenticationEnabled -eq $true) { $one.Internal = $true }
    foreach ($address in Get-Compared $addresses) {
        $counts["$look addresses"] += 1
        if (-not $looks.ContainsKey($address)) { $looks[$address] = 0 }
        $looks[$address] = $looks[$address] -bor $look
    }
}

# Whether some recipient has an address now: both families of commands are asked for this one address.
function Test-Address($address) {
    $filter = @{ Filter = "EmailAddresses -eq '$($address -replace "'", "''")'"; ResultSize = "Unlimited" }
    $group = $filter + @{ RecipientTypeDetails = "GroupMailbox" }
    $hits = New-Object System.Collections.ArrayList
    foreach ($name in "Get-EXORecipient", "Get-Recipient") {
        foreach ($parameters in $filter, $group) {
            Invoke-Search $name $parameters { [void]$hits.Add($_) }
            if ($hits.Count) { return $true }
        }
    }
    $false
}

# The certificate with its key: of two PEM files, or the one of that thumbprint in Windows' store.
function Get-OurCertificate {
    if ($thumbprint) {
        $places = "Cert:\LocalMachine\My\$thumbprint", "Cert:\CurrentUser\My\$thumbprint"
        $stored = @(Get-ChildItem $places -ErrorAction SilentlyContinue)
        if ($stored -and -not $stored[0].HasPrivateKey) { throw "the certificate $thumbprint has no private key here" }
        if ($stored) { return $stored[0] }
        if (Get-PSDrive Cert -ErrorAction SilentlyContinue) { throw "no certificate $thumbprint in Cert:\*\My" }
        throw "a thumbprint serves on Windows alone; elsewhere the certificate is two files"
    }
    $pem = @($certificateFile, $keyFile | ForEach-Object {
            if ([System.IO.Path]::IsPathRooted($_)) { $_ } else { Join-Path $folder $_ }
        })
    foreach ($file in $pem) {
        if (-not (Test-Path -LiteralPath $file)) { throw "$file is not there" }
        $mode = (Get-Item -LiteralPath $file).UnixFileMode
        if ($mode -and ("$mode" -match "Group|Other")) { throw "${file}: others may use it; chmod 0600 it" }
    }
    $class = [System.Security.Cryptography.X509Certificates.X509Certificate2]
    try { $class::CreateFromPemFile($pem[0], $pem[1]) }
    catch { throw "$($pem -join " and ") are no certificate and its key without a password: $(Get-Text $_)" }
}

function Connect-Tenant {
    $name = "ExchangeOnlineManagement"
    $modules = @(Get-Module $name) + @(Get-Module -ListAvailable $name | Sort-Object Version -Descending)
    if (-not $modules) { throw "the module $name is not here: Install-Module $name -Scope AllUsers" }
    $module = $modules[0]
    Write-Log "PowerShell $($PSVersionTable.PSVersion), $name $($module.Version)"
    if ($module.Version -lt [version]"3.0") { throw "$name $($module.Version) is too old: 3.0 or later" }
    if ($module.Version -eq [version]"3.10.0") { Write-Log "this release may fail with certificates: take 3.10.1" }
    Import-Module $module.Path -DisableNameChecking

    $certificate = Get-OurCertificate
    $left = [int][Math]::Floor(($certificate.NotAfter - (Get-Date)).TotalDays)
    $until = $certificate.NotAfter.ToUniversalTime().ToString("u").Substring(0, 10)
    Write-Log "certificate $($certificate.Thumbprint), valid until $until"
    if ($left -lt 0) { throw "the certificate has expired on $until, or the clock of this computer is wrong" }
    if ($left -le $notice) { Write-Log "THE CERTIFICATE EXPIRES IN $left DAYS: a new one must be made and uploaded" }

    if (Get-ConnectionInformation) { throw "this process is connected already: it must be one of its own" }
    $connect = @{ AppId = $application; Organization = $organization; ExchangeEnvironmentName = $environment
        ShowBanner = $false; CommandName = @($needed + $optional) }
    if ($thumbprint) { $connect.CertificateThumbprint = $thumbprint } else { $connect.Certificate = $certificate }
    $known = (Get-Command Connect-ExchangeOnline).Parameters
    if ($known.ContainsKey("SkipLoadingFormatData")) { $connect.SkipLoadingFormatData = $true }
    if ($known.ContainsKey("EXOModuleBasePath") -and [System.IO.Path]::GetTempPath().Contains("$")) {
        $connect.EXOModuleBasePath = $folder  # a dollar in its path breaks the module
    }
    $script:connected = $true
    # The command may write errors and still succeed: whether it did is checked afterwards.
    try { Connect-ExchangeOnline @connect -ErrorAction Stop 3>$null | Out-Null }
    catch { throw "Connect-ExchangeOnline: $(Get-Reason (Get-Text $_))" }

    $connections = @(Get-ConnectionInformation)
    $wrong = @($connections | Where-Object {
            ($_.Organization -and $_.Organization -ne $organization) -or ($_.AppId -and $_.AppId -ne $application)
        })
    if ($connections.Count -ne 1 -or $wrong) {
        $names = @($connections | ForEach-Object { $_.Organization }) -join " and "
        throw "connected to $names, and not to $organization alone"
    }
    foreach ($name in $needed) {
        if (-not (Get-Command $name -ErrorAction SilentlyContinue)) {
            throw "${name}: $lacking"
        }
    }
}

$code = 0
$connected = $false
$writer = $null
$accepted = New-Object System.Collections.Hashtable  # domain in its ASCII form: an object of Get-AcceptedDomain
$parents = New-Object System.Collections.ArrayList  # those whose subdomains are taken too
$ours = New-Object System.Collections.Hashtable  # domain as written: whether it is one of the tenant's
$recipients = New-Object System.Collections.Hashtable  # by name; @{} takes names for one that differ in letter case
$looks = New-Object System.Collections.Hashtable  # address: in which look it was, as bits
$counts = @{ 1 = 0; 2 = 0; "1 addresses" = 0; "2 addresses" = 0 }
$types = @{}  # a look's number and a type of recipients that was in it
try {
    Connect-Tenant

    $parameters = @{ }
    if ((Get-Command Get-AcceptedDomain).Parameters.ContainsKey("ResultSize")) { $parameters.ResultSize = "Unlimited" }
    Invoke-Search "Get-AcceptedDomain" $parameters { $accepted[(Get-Ascii "$($_.DomainName)")] = $_ }
    if (-not $accepted.Count) { throw "Get-AcceptedDomain: $organization has no domain" }
    foreach ($domain in $accepted.Keys) {
        if ($accepted[$domain].MatchSubDomains -eq $true) { [void]$parents.Add($domain) }
        if ($domain.StartsWith("*.")) { [void]$parents.Add($domain.Substring(2)) }
    }
    $settings = New-Object System.Collections.ArrayList
    Invoke-Search "Get-OrganizationConfig" @{ } { [void]$settings.Add($_) }
    if ($settings.Count -ne 1) { throw "Get-OrganizationConfig: $($settings.Count) organizations and not one" }
    $plus = "yes"
    if ($settings[0].DisablePlusAddressInRecipients -eq $true) { $plus = "no" }

    # The first look. Microsoft's page does not say whether groups are among the rest: both ways are asked.
    $wanted = @{ ResultSize = "Unlimited"
        Properties = "DistinguishedName", "EmailAddresses", "HiddenFromAddressListsEnabled" }
    Invoke-Search "Get-EXORecipient" $wanted { Add-Recipient $_ 1 }
    Invoke-Search "Get-EXORecipient" ($wanted + @{ RecipientTypeDetails = "GroupMailbox" }) { Add-Recipient $_ 1 }

    # The second.
    foreach ($search in $searches) {
        $parameters = @{ ResultSize = "Unlimited" }
        if ($search.With) { $parameters += $search.With }
        if ($search.Switch) { $parameters[$search.Switch] = $true }
        $name = $search.Name
        $command = Get-Command $name -ErrorAction SilentlyContinue
        if (-not $command -and $name -eq "Get-UnifiedGroup") {
            $name = "Get-Mailbox"
            $parameters["GroupMailbox"] = $true
            $command = Get-Command $name
            if (-not $command.Parameters.ContainsKey("GroupMailbox")) { throw "Get-UnifiedGroup: $lacking" }
        }
        if (-not $command -and -not $types.ContainsKey("1 PublicFolder")) { continue }  # it is Get-MailPublicFolder
        if (-not $command) { throw "${name}: $lacking" }
        if ($search.Switch -and -not $command.Parameters.ContainsKey($search.Switch)) { continue }
        Invoke-Search $name $parameters { Add-Recipient $_ 2 }
    }
    # A sort that none of these commands has: the one that has all of them is asked for it.
    foreach ($type in @($types.Keys | Where-Object { $_ -like "1 ?*" } | ForEach-Object { $_.Substring(2) })) {
        if ($types.ContainsKey("2 $type")) { continue }
        $parameters = @{ ResultSize = "Unlimited"; RecipientTypeDetails = $type }
        try { Invoke-Search "Get-Recipient" $parameters { Add-Recipient $_ 2 } } catch { Write-Log (Get-Text $_) }
    }
    $internal = New-Object System.Collections.Hashtable
    $parameters = @{ ResultSize = "Unlimited"; Filter = $insideOnly }
    Invoke-Search "Get-Mailbox" $parameters { $internal["$($_.DistinguishedName)"] = $true }
    foreach ($name in $internal.Keys) { if ($recipients[$name]) { $recipients[$name].Internal = $true } }

    # Whole answers are the same both times, except for recipients that were made or removed meanwhile.
    if (-not $counts["1 addresses"]) { throw "Get-EXORecipient gave nobody in the domains of $organization" }
    if (-not $counts["2 addresses"]) { throw "the commands of each sort gave nobody in the domains of $organization" }
    $differing = @($looks.Keys | Where-Object { $looks[$_] -ne 3 })
    if ($differing.Count -gt $most) {
        $first = @($differing | Where-Object { $looks[$_] -eq 1 }).Count
        $how = "$($differing.Count) addresses, $first of them in the first alone"
        throw "two looks at the same recipients differ in ${how}: one of them was cut off; the next run will do"
    }
    $gone = New-Object System.Collections.Hashtable
    if ($differing.Count) {
        $known = @($looks.Keys | Where-Object { $looks[$_] -eq 3 })
        if (-not $known -or -not (Test-Address $known[0])) { throw "who is in one look alone cannot be looked up" }
    }
    foreach ($address in $differing) { if (-not (Test-Address $address)) { $gone[$address] = $true } }
    if ($differing.Count) { Write-Log "$($differing.Count) addresses differed and were looked up; $($gone.Count) gone" }

    $writer = New-Object System.IO.StreamWriter($draft, $false, (New-Object System.Text.UTF8Encoding($false)))
    $writer.NewLine = "`r`n"
    $writer.WriteLine("Exchange Online`t1`t$organization")
    foreach ($domain in ($accepted.Keys | Sort-Object)) {
        $one = $accepted[$domain]
        $below = "exact"
        if ($one.MatchSubDomains -eq $true) { $below = "subdomains" }
        $name = "$($one.DomainName)".Trim() -replace '[\s\x00-\x1f]', ''
        $writer.WriteLine("domain`t$name`t$("$($one.DomainType)" -replace '[^A-Za-z0-9]', '')`t$below")
    }
    $writer.WriteLine("plus`t$plus")
    $writer.WriteLine("Type`tFlags`tAddresses")
    $rows = $accepted.Count + 3
    $exported = 0
    $without = 0
    foreach ($one in $recipients.Values) {
        if (-not $one.Addresses.Count) { $without += 1; continue }
        if ($gone.Count) {
            $one.Addresses = @($one.Addresses | Where-Object { -not $gone.ContainsKey("$(Get-Compared $_)") })
        }
        if (-not $one.Addresses.Count) { continue }
        $writer.WriteLine((Format-Row $one))
        $rows += 1
        $exported += 1
    }
    $writer.Close()

    $stream = [System.IO.File]::OpenRead($draft)
    $sha256 = [System.Security.Cryptography.SHA256]::Create()
    try { $hash = [System.BitConverter]::ToString($sha256.ComputeHash($stream)) -replace "-", "" }
    finally { $stream.Close() }

    # An old mark never stands beside a new list, and half a mark beside none.
    $end = "#postern end rows=$rows sha256=$hash`r`n"
    [System.IO.File]::WriteAllText($markDraft, $end, [System.Text.Encoding]::ASCII)
    if (Test-Path -LiteralPath $mark) { Remove-Item -LiteralPath $mark }
    Move-Item -LiteralPath $draft -Destination $list -Force
    Move-Item -LiteralPath $markDraft -Destination $mark -Force
    Write-Log "$exported recipients exported"
    if ($without) { Write-Log "$without more have no address, and are not in the list" }
}
catch {
    Write-Log (Get-Text $_)
    $code = 1
}
finally {
    # Each of these is tried even if the one before fails: on a full disk the first fails.
    $last = { if ($writer) { $writer.Close() } },
        { if ($connected) { Disconnect-ExchangeOnline -Confirm:$false 3>$null | Out-Null } },
        { if (Test-Path -LiteralPath $draft) { Remove-Item -LiteralPath $draft } },
        { if (Test-Path -LiteralPath $markDraft) { Remove-Item -LiteralPath $markDraft } }
    foreach ($step in $last) { try { & $step } catch { $code = 1 } }
}
exit $code
