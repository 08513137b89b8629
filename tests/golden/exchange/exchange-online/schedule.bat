@echo off
rem   schedule.bat                   runs runexport.bat on MON, TUE, WED, THU, FRI at
rem                                  07:48 08:48 09:48 10:48 11:48 12:48 13:48 14:48 15:48 16:48
rem                                  17:48 18:48
rem   schedule.bat DOMAIN\account    the same, as that account; asks for its password (on XP and
rem                                  2003 for each time of day; on NT 4 and 2000 it is always the
rem                                  account of the Schedule service)
rem   schedule.bat remove            removes what schedule.bat set up, and nothing else
rem
rem May be run again: it replaces what it set up before.

setlocal
D:
cd \userexport
if exist runexport.bat goto place
echo D:\userexport\runexport.bat is not there
goto failed
:place
if exist %SystemRoot%\System32\Tasks goto tasks

rem NT 4 to 2003: jobs of at. Those that run our batch file are Postern's.
at > schedule.tmp
find "D:\userexport\runexport.bat" < schedule.tmp > schedule.our
rem A job that failed has a word before its number: the first or the second is the number.
for /f "tokens=1,2" %%i in (schedule.our) do at %%i /delete > nul 2>&1
for /f "tokens=1,2" %%i in (schedule.our) do at %%j /delete > nul 2>&1
del schedule.tmp
del schedule.our
if exist %SystemRoot%\System32\schtasks.exe goto weekly

rem NT 4 and 2000: a job for each time of day.
if "%1"=="remove" goto removed
at 07:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 08:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 09:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 10:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 11:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 12:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 13:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 14:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 15:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 16:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 17:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
at 18:48 /every:M,T,W,Th,F cmd /c D:\userexport\runexport.bat
if errorlevel 1 goto noat
goto end
:noat
echo The job was not taken: is the Schedule service running, and are you an administrator?
goto failed

rem XP and 2003: a task for each time of day, as their schtasks knows no XML. Tasks with our name are Postern's.
:weekly
schtasks /query /fo csv /nh > schedule.tmp
find """Postern demo at " < schedule.tmp > schedule.our
for /f "tokens=1 delims=," %%t in (schedule.our) do schtasks /delete /f /tn %%t > nul
del schedule.tmp
del schedule.our
if "%1"=="remove" goto removed
set account=SYSTEM
if not "%1"=="" set account=%1
schtasks /create /tn "Postern demo at 07.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 07:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 08.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 08:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 09.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 09:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 10.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 10:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 11.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 11:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 12.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 12:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 13.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 13:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 14.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 14:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 15.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 15:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 16.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 16:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 17.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 17:48:00 /ru %account%
if errorlevel 1 goto untaken
schtasks /create /tn "Postern demo at 18.48" /tr D:\userexport\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI /st 18:48:00 /ru %account%
if errorlevel 1 goto untaken
goto end
:untaken
echo The task was not taken: are you an administrator, and was the password right?
goto failed

rem 2008 and later: one task.
:tasks
if "%1"=="remove" goto untask
if "%1"=="" goto system
schtasks /create /f /tn "Postern demo" /xml schedule.xml /ru %1 /rp *
goto tasked
:system
schtasks /create /f /tn "Postern demo" /xml schedule.xml /ru SYSTEM
:tasked
if not errorlevel 1 goto end
echo The task was not taken: was this window opened with "Run as administrator"?
goto failed
:untask
schtasks /delete /f /tn "Postern demo"
if errorlevel 1 goto failed
:removed
echo runexport.bat is no longer run by itself
goto end

:failed
cmd /c exit 4
:end
