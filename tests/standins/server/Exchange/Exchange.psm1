# Exchange's own commands, answering from a made-up organisation. What they return has the shape that Microsoft documents.
#
# STANDIN_COUNT   recipients of the organisation (40)
# STANDIN_PEOPLE  a file of JSON with the recipients in their place: a list of Details, Addresses, Hidden, Internal, Disabled
# STANDIN_SHAPE   snapin: addresses are ProxyAddress objects; remoting: deserialised text
# STANDIN_LACKS   commands this Exchange does not have, or the account may not use, with a comma between
# STANDIN_FAIL    COMMAND:N:KIND, several with a comma between: what COMMAND does after N objects
#     throws          ends with an error that ends it
#     writes          writes an error and ends, as a command does that goes on where it can
#     warns           ends with the warning that there is more
#     complains       warns of an object that is not valid, and goes on
#     ends            ends there and says nothing
#     nameless        its objects from the N-th on have no DistinguishedName
#     bare            its objects from the N-th on have no addresses
#     unreadable      its objects from the N-th on fail when their addresses are read
#     alike           its objects from the N-th on have names that differ in letter case alone

class ProxyAddress {
    [string]$PrefixString; [string]$SmtpAddress; [string]$ProxyAddressString
    ProxyAddress([string]$text) {
        $this.PrefixString, $this.SmtpAddress = $text -split ':', 2
        $this.ProxyAddressString = $text
    }
    [string] ToString() { return $this.ProxyAddressString }
}

$Kinds = @('UserMailbox') * 10 + @('SharedMailbox', 'RoomMailbox', 'MailUser', 'MailContact', 'MailUniversalDistributionGroup',
    'DynamicDistributionGroup', 'PublicFolder', 'RemoteUserMailbox', 'ArbitrationMailbox', 'PublicFolderMailbox')
$Covers = @{
    'Get-Mailbox'                  = 'UserMailbox', 'LinkedMailbox', 'SharedMailbox', 'LegacyMailbox', 'RoomMailbox',
        'EquipmentMailbox', 'DiscoveryMailbox', 'TeamMailbox', 'SchedulingMailbox'
    'Get-Mailbox -Arbitration'     = , 'ArbitrationMailbox'
    'Get-Mailbox -PublicFolder'    = , 'PublicFolderMailbox'
    'Get-RemoteMailbox'            = , 'RemoteUserMailbox'
    'Get-MailUser'                 = , 'MailUser'
    'Get-MailContact'              = , 'MailContact'
    'Get-DistributionGroup'        = 'MailUniversalDistributionGroup', 'MailNonUniversalGroup', 'MailUniversalSecurityGroup', 'RoomList'
    'Get-DynamicDistributionGroup' = , 'DynamicDistributionGroup'
    'Get-MailPublicFolder'         = , 'PublicFolder'
}

function Get-StandinFault($command) {
    foreach ($one in "$env:STANDIN_FAIL" -split ',') {
        $name, $n, $kind = $one -split ':', 3
        if ($name -eq $command) { return @{ N = [int]$n; Kind = $kind } }
    }
}

$People = @()
if ($env:STANDIN_PEOPLE) { $People = @(Get-Content -Raw $env:STANDIN_PEOPLE | ConvertFrom-Json) }

function Get-StandinKind([int]$i) {
    if ($People) { $People[$i].Details } else { $Kinds[$i % $Kinds.Count] }
}

function New-StandinPerson([int]$i, $ask) {
    $one = $People[$i]
    $object = [ordered]@{
        Name = "p$i"; DistinguishedName = "CN=p$i,OU=Staff,DC=acme,DC=example"; RecipientTypeDetails = $one.Details
        EmailAddresses = [System.Collections.ArrayList]@($one.Addresses); HiddenFromAddressListsEnabled = $one.Hidden
    }
    if ($ask) { $object['RequireSenderAuthenticationEnabled'] = $one.Internal }
    if ($ask -and $one.Details -match 'Mailbox$|^MailUser$') { $object['ExchangeUserAccountControl'] = ('None', 'AccountDisabled')[$one.Disabled] }
    [pscustomobject]$object
}

function New-StandinRecipient([int]$i, $ask) {
    if ($People) { return New-StandinPerson $i $ask }
    $details = $Kinds[$i % $Kinds.Count]
    $texts = @("SMTP:r$i@acme.example")
    if ($i % 3 -eq 0) { $texts += "smtp:r$i.alias@acme.example" }
    if ($i % 7 -eq 0) { $texts += "X400:c=DE;a= ;p=Acme;o=Exchange;s=r$i;" }
    $addresses = $texts
    if ($env:STANDIN_SHAPE -eq 'snapin') { $addresses = @($texts | ForEach-Object { [ProxyAddress]::new($_) }) }
    $object = [ordered]@{
        Name = "r$i"; DistinguishedName = "CN=r$i,OU=Staff,DC=acme,DC=example"; RecipientTypeDetails = $details
        EmailAddresses = [System.Collections.ArrayList]@($addresses); HiddenFromAddressListsEnabled = ($i % 11 -eq 0)
    }
    if ($ask) { $object['RequireSenderAuthenticationEnabled'] = ($details -like '*Group' -and $i % 4 -eq 0) }
    if ($details -eq 'UserMailbox' -and $ask) { $object['ExchangeUserAccountControl'] = ('None', 'AccountDisabled')[$i % 13 -eq 0] }
    [pscustomobject]$object
}

# Whom a command returns, and what befalls it on the way.
function Invoke-Standin($caller, $command, $resultSize) {
    $fault = Get-StandinFault $command
    $count = 40
    if ($env:STANDIN_COUNT) { $count = [int]$env:STANDIN_COUNT }
    if ($People) { $count = $People.Count }
    $given = 0
    for ($i = 0; $i -lt $count; $i++) {
        $kind = Get-StandinKind $i
        if ($command -ne 'Get-Recipient' -and $Covers[$command] -notcontains $kind) { continue }
        if ("$resultSize" -ne 'Unlimited' -and $given -ge 1000) { break }
        $one = New-StandinRecipient $i ($command -ne 'Get-Recipient')
        if ($fault -and $given -ge $fault.N) {
            switch ($fault.Kind) {
                'throws' { throw 'The server is too busy: the budget of this account is used up. Please wait.' }
                'writes' {
                    $caller.WriteError((New-Object System.Management.Automation.ErrorRecord (
                                (New-Object System.Exception 'The operation could not be performed: DC1 is not reached.'), 'X', 'NotSpecified', $null)))
                    return
                }
                'warns' {
                    Write-Warning 'There are more results available than are currently displayed. To view them, increase the value for the ResultSize parameter.'
                    return
                }
                'complains' { Write-Warning "The object acme.example/Staff/r$i has been corrupted, and it's in an inconsistent state." }
                'ends' { return }
                'nameless' { $one.DistinguishedName = $null }
                'bare' { $one.EmailAddresses = $null }
                'unreadable' {
                    $one.PSObject.Properties.Remove('EmailAddresses')
                    $one | Add-Member ScriptProperty EmailAddresses { throw 'The property EmailAddresses is not valid.' }
                }
                'alike' { $one.DistinguishedName = ('CN=Strasse', 'CN=STRASSE')[$given % 2] }
            }
        }
        $given++
        $one
    }
}

function Get-Mailbox {
    [CmdletBinding()] param([object]$ResultSize, [switch]$Arbitration, [switch]$PublicFolder)
    $only = ''
    if ($Arbitration) { $only = ' -Arbitration' }
    if ($PublicFolder) { $only = ' -PublicFolder' }
    Invoke-Standin $PSCmdlet "Get-Mailbox$only" $ResultSize
}

function Get-RemoteMailbox { [CmdletBinding()] param([object]$ResultSize) Invoke-Standin $PSCmdlet 'Get-RemoteMailbox' $ResultSize }
function Get-MailUser { [CmdletBinding()] param([object]$ResultSize) Invoke-Standin $PSCmdlet 'Get-MailUser' $ResultSize }
function Get-MailContact { [CmdletBinding()] param([object]$ResultSize) Invoke-Standin $PSCmdlet 'Get-MailContact' $ResultSize }
function Get-DistributionGroup { [CmdletBinding()] param([object]$ResultSize) Invoke-Standin $PSCmdlet 'Get-DistributionGroup' $ResultSize }
function Get-DynamicDistributionGroup { [CmdletBinding()] param([object]$ResultSize) Invoke-Standin $PSCmdlet 'Get-DynamicDistributionGroup' $ResultSize }
function Get-MailPublicFolder { [CmdletBinding()] param([object]$ResultSize) Invoke-Standin $PSCmdlet 'Get-MailPublicFolder' $ResultSize }
function Get-Recipient { [CmdletBinding()] param([object]$ResultSize) Invoke-Standin $PSCmdlet 'Get-Recipient' $ResultSize }
function Set-ADServerSettings { [CmdletBinding()] param([bool]$ViewEntireForest) $global:StandinWholeForest = $ViewEntireForest }

$lacks = "$env:STANDIN_LACKS" -split ','
Export-ModuleMember -Function @((Get-Command -Module $MyInvocation.MyCommand.ScriptBlock.Module | ForEach-Object Name) | Where-Object { $lacks -notcontains $_ })
