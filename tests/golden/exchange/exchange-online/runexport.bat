@echo off
rem Tells the mail relays which addresses of demo may receive mail.
rem
rem   runexport.bat        exports the addresses and sends them to each relay
rem   runexport.bat look   the same, but the relays only say what would change
rem
rem Ends with 0 when every relay took the list, otherwise with the worst of these, worst first:
rem 4 something failed, 5 a proof failed, 2 refused, 3 held until somebody looks at it, 75 busy.
rem runexport.log says what happened; older runs are in runexport.old.
rem
rem Written by Postern, which overwrites what is changed here by hand. Plain on purpose: the
rem cmd.exe of Windows NT 4 must be able to run it.

setlocal
set worst=0
if "%1"=="" goto place
if "%1"=="look" goto place
echo runexport takes no argument, or the word look
set worst=2
goto end

:place
D:
cd \userexport
if exist runexport.ps1 goto lock
echo D:\userexport is not there, or not all of its files are
set worst=4
goto end

rem One run at a time. A run that finds the lock leaves a mark in it; when 2 marks are there, which
rem takes two hours, the run that holds it hangs: powershell.exe may wait for somebody to press OK.
:lock
md runexport.lck > nul 2>&1
if not errorlevel 1 goto locked
if exist runexport.lck goto taken
echo nothing can be written in D:\userexport
set worst=4
goto end
:taken
if not exist runexport.lck\mark1 goto mark1
if not exist runexport.lck\mark2 goto mark2
>> runexport.log echo A run has held the lock for hours: it is given up. Look for an old powershell.exe in the Task Manager.
del runexport.lck\mark1
del runexport.lck\mark2
goto locked
:mark1
> runexport.lck\mark1 echo a run was turned away
goto busy
:mark2
> runexport.lck\mark2 echo a run was turned away
goto busy
:busy
>> runexport.log echo Another run is at work: this one does nothing.
echo Another run is at work: this one does nothing.
set worst=75
goto end

rem The time at which a run began is its name.
:locked
for /f "tokens=*" %%d in ('date /t') do set began=%%d
for /f "tokens=*" %%t in ('time /t') do set began=%began% %%t
> runexport.lck\owner echo %began%
if not exist runexport.run goto count
rem The run before was cut short: its messages are kept.
type runexport.run >> runexport.log
del runexport.run
if not exist runexport.run goto count
>> runexport.log echo %began%: runexport.run is in use. End the old plink.exe in the Task Manager.
echo runexport.run is in use. End the old plink.exe in the Task Manager.
set worst=4
goto unlock

rem After 500 runs the log becomes runexport.old and a new one begins.
:count
set runs=0
if exist runexport.cnt for /f %%n in (runexport.cnt) do set runs=%%n
set /a runs=%runs%+1
if %runs% LSS 500 goto export
set runs=0
if exist runexport.old del runexport.old
if exist runexport.log ren runexport.log runexport.old

:export
> runexport.cnt echo %runs%
> runexport.run echo %began%: runexport %1
if exist upload.txt del upload.txt
echo Exporting the addresses of demo ...

rem The script writes the list and then, in exchusers.end, its end mark with the list's rows and SHA-256.
rem Without that the list counts as not written. (nul: PowerShell 2 waits for its input to end.)
if exist "%SystemRoot%\System32\WindowsPowerShell\v1.0\powershell.exe" goto clear
>> runexport.run echo powershell.exe is not on this server
goto failed
:clear
if exist exchusers.txt del exchusers.txt
if exist exchusers.end del exchusers.end
if exist exchusers.txt goto inuse
if not exist exchusers.end goto ask
:inuse
>> runexport.run echo exchusers.txt cannot be removed: is an earlier powershell.exe still running?
goto failed
:ask
"%SystemRoot%\System32\WindowsPowerShell\v1.0\powershell.exe" -NoProfile -NonInteractive -ExecutionPolicy Bypass -File D:\userexport\runexport.ps1 < nul >> runexport.run 2>&1
if errorlevel 1 goto said
if errorlevel 0 goto written
:said
>> runexport.run echo runexport.ps1 failed: the lines above say why
goto failed
:written
if not exist exchusers.end goto nolist
if exist exchusers.txt goto exported
:nolist
>> runexport.run echo runexport.ps1 wrote no exchusers.txt
goto failed
:exported

rem The run that broke this run's lock has written over its export.
set owner=
if exist runexport.lck\owner for /f "tokens=*" %%o in (runexport.lck\owner) do set owner=%%o
if "%owner%"=="%began%" goto endmark
>> runexport.log echo %began%: took so long that its lock was broken: nothing is sent.
set worst=4
goto end

rem The relays take a list only if it is whole: with the mark at its end.
:endmark
copy /b exchusers.txt+exchusers.end upload.txt > nul
if errorlevel 1 goto nocopy
if exist upload.txt goto upload
:nocopy
>> runexport.run echo upload.txt could not be written: is the disk full?
goto failed

:upload
if "%1"=="look" goto look

if exist plink.exe goto receive1
>> runexport.run echo plink.exe is not in D:\userexport: README.txt says which one belongs there
goto failed

:receive1
set next=receive2
echo Calling mx1.provider.example ...
>> runexport.run echo mx1.provider.example:
plink -batch -ssh -T -P 22 -i exchupdate-k1.ppk -hostkey AAAAC3NzaC1lZDI1NTE5AAAAIDExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx -hostkey AAAAB3NzaC1yc2EAAAEXMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx postern@mx1.provider.example receive < upload.txt >> runexport.run 2>&1
goto judge

:receive2
goto done

:look

if exist plink.exe goto look1
>> runexport.run echo plink.exe is not in D:\userexport: README.txt says which one belongs there
goto failed

:look1
set next=look2
echo Calling mx1.provider.example ...
>> runexport.run echo mx1.provider.example:
plink -batch -ssh -T -P 22 -i exchupdate-k1.ppk -hostkey AAAAC3NzaC1lZDI1NTE5AAAAIDExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx -hostkey AAAAB3NzaC1yc2EAAAEXMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx postern@mx1.provider.example look < upload.txt >> runexport.run 2>&1
goto judge

:look2
goto done

rem What one relay's answer means for all of them.
:judge
if not errorlevel 0 goto bad
if errorlevel 76 goto bad
if errorlevel 75 goto late
if errorlevel 6 goto bad
if errorlevel 5 goto proof
if errorlevel 4 goto bad
if errorlevel 3 goto held
if errorlevel 2 goto refused
if errorlevel 1 goto bad
goto %next%
:bad
set worst=4
goto %next%
:proof
if not %worst%==4 set worst=5
goto %next%
:refused
if %worst%==0 set worst=2
if %worst%==75 set worst=2
if %worst%==3 set worst=2
goto %next%
:held
if %worst%==0 set worst=3
if %worst%==75 set worst=3
goto %next%
:late
if %worst%==0 set worst=75
goto %next%

:failed
set worst=4
:done
>> runexport.run echo runexport ends with %worst%
type runexport.run
type runexport.run >> runexport.log
del runexport.run
if exist upload.txt del upload.txt
:unlock
if exist runexport.lck\mark1 del runexport.lck\mark1
if exist runexport.lck\mark2 del runexport.lck\mark2
del runexport.lck\owner
rd runexport.lck

rem NT 4's exit takes no number. On NT 4 find sets 1 for every number but 0.
:end
cmd /c exit %worst%
if errorlevel %worst% goto ended
find "no such line" < runexport.ps1 > nul
:ended
