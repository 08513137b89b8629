@echo off
rem   install.bat                    lets nobody but administrators and the system open D:\userexport
rem                                  and the key in it
rem   install.bat DOMAIN\account     the same, but this account, which is to run runexport.bat, may too
rem
rem May be run again. ssh.exe uses no key that others may open. The groups are named by number,
rem because each language of Windows has other names for them.

setlocal
D:
cd \userexport
if exist runexport.bat goto folder
echo D:\userexport\runexport.bat is not there
goto failed

:folder
icacls D:\userexport /reset > nul
icacls D:\userexport /inheritance:r /grant:r *S-1-5-32-544:(OI)(CI)F /grant:r *S-1-5-18:(OI)(CI)F > nul
if errorlevel 1 goto denied
if "%1"=="" goto key2
icacls D:\userexport /grant:r %1:(OI)(CI)M > nul
if errorlevel 1 goto denied

:key2
if not exist exchupdate-k2 goto key1
icacls exchupdate-k2 /reset > nul
icacls exchupdate-k2 /inheritance:r /grant:r *S-1-5-32-544:F /grant:r *S-1-5-18:F > nul
if errorlevel 1 goto denied
icacls exchupdate-k2 /setowner *S-1-5-32-544 > nul
if errorlevel 1 goto denied
if not "%1"=="" icacls exchupdate-k2 /grant:r %1:R > nul
if errorlevel 1 goto denied

:key1
if not exist exchupdate-k1 goto key0
icacls exchupdate-k1 /reset > nul
icacls exchupdate-k1 /inheritance:r /grant:r *S-1-5-32-544:F /grant:r *S-1-5-18:F > nul
if errorlevel 1 goto denied
icacls exchupdate-k1 /setowner *S-1-5-32-544 > nul
if errorlevel 1 goto denied
if not "%1"=="" icacls exchupdate-k1 /grant:r %1:R > nul
if errorlevel 1 goto denied

:key0
echo Nobody else opens D:\userexport and the key in it now.
goto end

:denied
echo That was not allowed: was this window opened with "Run as administrator"?
:failed
cmd /c exit 4
:end
