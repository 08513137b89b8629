# A stand-in, not Microsoft's: Exchange's own commands, so that a script can be run without an Exchange.
@{
    RootModule        = 'Exchange.psm1'
    ModuleVersion     = '1.0'
    GUID              = '0b7a4a0e-6f53-4b0c-9a57-0f1f5d7f3a11'
    Author            = 'stand-in'
    Description       = 'Stand-in for the commands of an Exchange server, steered by STANDIN_*'
    PowerShellVersion = '5.1'
    FunctionsToExport = @('Get-Mailbox', 'Get-RemoteMailbox', 'Get-MailUser', 'Get-MailContact', 'Get-DistributionGroup',
        'Get-DynamicDistributionGroup', 'Get-MailPublicFolder', 'Get-Recipient', 'Set-ADServerSettings')
    CmdletsToExport   = @()
    VariablesToExport = @()
    AliasesToExport   = @()
}
